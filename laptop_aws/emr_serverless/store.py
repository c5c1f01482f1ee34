"""The tables of the emulated EMR Serverless, and its ids, ARNs and errors."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from laptop_aws.service_model import ServiceError
from laptop_aws.store import Store, Table, scope


@dataclass
class Tables:
    """Applications by id, job runs by ``<application id>/<job run id>``."""

    applications: Table = field(default_factory=dict)
    job_runs: Table = field(default_factory=dict)


store = Store(Tables)


def new_id() -> str:
    """An id as EMR Serverless makes them: 16 characters of ``[0-9a-z]``."""
    return "00f" + secrets.token_hex(7)[:13]


def arn(path: str) -> str:
    account, region = scope()
    return f"arn:aws:emr-serverless:{region}:{account}:/applications/{path}"


def not_found(kind: str, identifier: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"{kind} {identifier} does not exist", 404)
