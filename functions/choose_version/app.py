"""State ChooseVersion: choose the version that a rollback deploys again, or gives a share of the requests. It must have
served before. Returns `{"runId", "datasetVersion", "from", "reason", "percent", "registration", "training"}`.
"""

from __future__ import annotations

from typing import Any

from choose_version import choice
from shared import environment, names
from shared.errors import MissingResource
from shared.ledger import Ledger
from shared.observability import append_run, logger, observed

SETTINGS = environment.load(environment.Common)
LEDGER = Ledger(SETTINGS.runs_table)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises InvalidInput for an invalid input, MissingResource for a version that never served, StaleVersion if
    another run serves than `from`.
    """
    request = choice.from_event(event)
    serving = LEDGER.serving()
    run_id = choice.wanted(request, serving, LEDGER.history())
    champion = LEDGER.champion(run_id)
    if champion is None or serving is None:
        raise MissingResource(f"{run_id} cannot serve again: it never served, or was erased with forgotten people")
    names.require_past(champion["datasetVersion"], LEDGER.seconds())
    append_run(run_id=run_id, dataset_version=champion["datasetVersion"])
    logger.info("version chosen", extra={"from": serving["runId"]})
    return choice.target(champion, serving, request)
