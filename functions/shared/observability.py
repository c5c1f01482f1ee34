"""One logger, one metrics buffer, and the decorator that every handler wears.

    @observed
    def handler(event, context): ...

`append_run(...)` puts the run's identity on every later line of the invocation. Run ids belong in logs, never in the
dimensions of metrics; task tokens, whole events and user ids belong in neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from shared.errors import FunctionError

logger = Logger()
metrics = Metrics()

Handler = Callable[[Any, Any], Any]


def append_run(*, run_id: str | None = None, dataset_version: str | None = None) -> None:
    """Name the run (and its data) on every log line that follows in this invocation."""
    keys = {"run_id": run_id, "dataset_version": dataset_version}
    logger.append_keys(**{name: value for name, value in keys.items() if value is not None})


def count(name: str, value: float = 1) -> None:
    """Add to the count metric `name` (CamelCase); it is sent when the invocation ends."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def observed(handler: Handler) -> Handler:
    """Log context cleared and set per invocation, an expected error logged with its name, metrics sent whatever
    happens.
    """

    @logger.inject_lambda_context(clear_state=True)
    @functools.wraps(handler)
    def run(event: Any, context: Any) -> Any:
        try:
            return handler(event, context)
        except FunctionError as error:
            logger.warning("stopped", extra={"error_name": error.name, "reason": str(error)})
            raise
        except Exception:
            logger.exception("failed")
            raise
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()

    return run
