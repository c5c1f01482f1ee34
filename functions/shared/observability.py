"""The logger, the metrics buffer, and the decorator of every handler.

    @observed
    def handler(event, context): ...

`append_run(...)` adds the run id to every later log line of the invocation. Run ids belong in logs, never in metric
dimensions. Task tokens, whole events and user ids belong in neither.
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
    """Add the run id and the dataset version to every later log line of this invocation."""
    keys = {"run_id": run_id, "dataset_version": dataset_version}
    logger.append_keys(**{name: value for name, value in keys.items() if value is not None})


def count(name: str, value: float = 1) -> None:
    """Add `value` to the count metric `name` (CamelCase); it is sent when the invocation ends."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def observed(handler: Handler) -> Handler:
    """Wrap a handler: set the log context per invocation, log errors, and always send the metrics."""

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
