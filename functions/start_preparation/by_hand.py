"""The call of `start_preparation` for a source that a person submits: `emr/submit.sh` runs it, and makes the call.

`PYTHONPATH=.:functions python -m start_preparation.by_hand` reads the function's environment on standard input, and
writes the request of StartJobRun. So a job by hand has the same parameters as one of the state machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.names import DATASET_VERSION
from shared import names
from shared.errors import InvalidInput
from start_preparation import plan, request

REFUSED = 2


def job(
    environment: Mapping[str, str],
    *,
    source: str,
    written_at: str,
    said: str = "",
    items: str = "",
    parameters: str = "",
    newest_version: str = "",
    attempt: int = 1,
) -> dict[str, Any]:
    """Return the request. Raises InvalidInput for a source or parameter that cannot be used.

    `written_at`: when the newest file of `source` was written. `said`: the text of its `_drop.json`. `newest_version`:
    the newest dataset version in the ledger; anything else is none.
    """
    bucket = environment["DATA_BUCKET"]
    try:
        given = json.loads(parameters or "{}")
    except ValueError as error:
        raise InvalidInput(f"parameters must be a JSON object: {error}") from None
    event = {
        # In the place of an execution: the same files again are the same version, and so the same job.
        "executionArn": source,
        "startTime": written_at,
        "source": source,
        "items": items or None,
        "parameters": given,
    }
    preparation = plan.from_event(
        event,
        bucket,
        "",
        json.loads(environment.get("PREPARATION_PARAMETERS") or "{}"),
        lambda key: said.encode() or None,
    )
    if preparation.is_append:
        raise InvalidInput(
            f'{source} is an append ("kind" in _drop.json): only the state machine unites it with the history; '
            f"close it by an empty {source}_SUCCESS, which starts the machine"
        )
    names.require_past(preparation.version, time.time())
    is_earlier = bool(DATASET_VERSION.fullmatch(newest_version)) and newest_version < preparation.version
    return request.start_job_run(
        preparation,
        attempt=attempt,
        parent_version=newest_version if is_earlier else None,
        name_prefix=environment["NAME_PREFIX"],
        data_bucket=bucket,
        artifacts_bucket=environment["ARTIFACTS_BUCKET"],
        application_id=environment["EMR_APPLICATION_ID"],
        execution_role_arn=environment["EMR_EXECUTION_ROLE_ARN"],
        entry_point=environment["PREPARATION_ENTRY_POINT"],
        py_files=environment["PREPARATION_PY_FILES"],
        code_version=environment["PREPARATION_CODE_VERSION"],
        log_uri=environment["PREPARATION_LOG_URI"],
        log_group=environment["PREPARATION_LOG_GROUP"],
        timeout_minutes=int(environment["PREPARATION_TIMEOUT_MINUTES"]),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the request; return the exit status: 2 with the reason on standard error for a source that is refused."""
    parser = argparse.ArgumentParser(prog="start_preparation.by_hand", description="The request of a job by hand.")
    for name in ("source", "written-at", "said", "items", "parameters", "newest-version"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--attempt", type=int, default=1)
    try:
        print(json.dumps(job(json.load(sys.stdin), **vars(parser.parse_args(argv)))))
    except InvalidInput as error:
        print(f"refused: {error}", file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
