"""The customer's key on the volumes of SageMaker's machines. Pure."""

from __future__ import annotations

import re

# A `d` behind the generation (g4dn, c5d, p4de), and the families that have local storage without one.
_LOCAL_STORAGE = re.compile(
    r"ml\.([a-z]+[0-9]+[a-z]*d[a-z]*|g[5-9][a-z]*|gr[0-9]|p[5-9].*|trn[0-9].*|dl[0-9]|i[0-9].*)\."
)


def key_of(instance_type: str, kms_key_arn: str) -> str:
    """Return the key for the volumes of these machines; empty where there is none, and on machines with local storage:
    they encrypt it by their hardware, and SageMaker refuses a call that names a key.
    """
    return "" if _LOCAL_STORAGE.match(instance_type) else kms_key_arn
