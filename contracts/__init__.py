"""The contracts between the programs of the system: names, limits, log lines, the comparison of answers, and a JSON
Schema of each document (`*.schema.json`).

Every program ships this package: the functions and the preparation through a link in their folder, the container as a
separate folder. It imports only the standard library, except that `schemas.check` needs `fastjsonschema`.
"""
