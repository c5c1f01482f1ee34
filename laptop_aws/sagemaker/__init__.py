"""SageMaker on a laptop: training and transform jobs and endpoints as processes, a registry, AWS's API and events.

What differs from AWS, because a laptop is one machine:

- The instances of a training job are processes with an ``/opt/ml`` each. Several have addresses as names (127.0.0.1,
  127.0.0.2, …; ``algo-1``, ``algo-2``, … in AWS), and the variable ``MASTER_PORT`` names a free port, because all jobs
  share one machine. Network isolation and roles are not enforced, spot is not interrupted.
- An endpoint variant is one process, whatever the requested instance type and count; ``DescribeEndpoint`` shows it
  (``DesiredInstanceCount`` as requested, ``CurrentInstanceCount`` 1).
- A deployment shifts all traffic at once. The waits of a ``DeploymentConfig`` are cut to ``LAPTOP_AWS_BAKE_SECONDS``
  (2); its alarms are checked before the shift and after the wait, and one in ALARM rolls the deployment back.
- A container that ends three times before its first healthy ``/ping`` fails at once; AWS continues until the health
  check times out.
- A transform job also uses one process, with at most ``MaxConcurrentTransforms`` concurrent requests, and sends each
  object whole: ``SplitType`` None, no ``DataProcessing``.
- A training or transform job that ran when the host ended is ``Failed`` with ``InternalServerError`` after the next
  start; its name stays taken, as on AWS. Endpoints return: ``SystemUpdating`` until they answer ``/ping``, then
  ``InService``.
"""

from __future__ import annotations

import sys
from typing import Any

from laptop_aws import registry
from laptop_aws.sagemaker import cloudformation, endpoints, training_jobs, transform_jobs
from laptop_aws.sagemaker.api import handle_request
from laptop_aws.sagemaker.store import store

__all__ = ["get_state", "handle_request", "load_persisted_state", "register", "reset"]


def register() -> None:
    """Registers with the host: the control plane by target prefix, the runtime by signing name and path."""
    registry.register_service(
        "sagemaker",
        sys.modules[__name__],
        target_prefixes=["SageMaker."],
        credential_scope="sagemaker",
        host_patterns=[r"sagemaker\."],
        path_patterns=[r"^/endpoints/[^/]+/invocations"],
    )
    registry.register_aws_sdk_integration("sagemaker", target_prefix="SageMaker", error_prefix="SageMaker")
    cloudformation.register()
    registry.on_ready(_restore)
    registry.on_shutdown(_shut_down)


def _restore() -> None:
    training_jobs.fail_interrupted()
    transform_jobs.fail_interrupted()
    endpoints.restore()


def _shut_down() -> None:
    training_jobs.runs.close()
    transform_jobs.runs.close()
    endpoints.close()


get_state = store.get_state


def reset() -> None:
    """Stops every job and endpoint and forgets everything."""
    training_jobs.runs.abandon_all()
    transform_jobs.runs.abandon_all()
    endpoints.abandon_all()
    store.clear()


def load_persisted_state(data: dict[str, Any]) -> None:
    """Restores the saved state; endpoints that served are ``SystemUpdating`` until ``_restore`` has started them."""
    store.load(data)
    endpoints.note_restart()
