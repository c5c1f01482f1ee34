"""What one program of the system writes and another reads, defined once: names, limits, log lines, the rule of equal
answers, and a JSON Schema of each document (`*.schema.json`).

Every program ships this package: the functions and the preparation through a link in their folder, the container as a
folder of its own. It imports the standard library alone; only `schemas.check` needs `fastjsonschema`.
"""
