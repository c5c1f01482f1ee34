"""Removes a stack with everything that costs money: what its runs made, then the stack itself.

Runs make endpoint, configurations, models and the scalable target at run time, so `sam delete` alone would leave them.
Buckets, ledger and model package group are kept: they hold what cannot be made again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

from contracts.names import RUN_ID

MACHINES = ("Preparation", "Retraining", "Rollback", "Batch")
VARIANTS = ("AllTraffic", "Other")
KEPT = "kept: both buckets, the ledger (table of runs) and the model package group"


class Clients(Protocol):
    """Makes boto3 clients, as `boto3.Session.client`."""

    def __call__(self, service: str) -> Any: ...


class NoStack(Exception):
    """There is no such stack; nothing was removed."""


@dataclass(frozen=True)
class Teardown:
    """The removal of one stack, in steps that can be repeated: what is gone already is passed over."""

    clients: Clients
    stack: str
    outputs: dict[str, str]

    @classmethod
    def of(cls, clients: Clients, stack: str) -> Teardown:
        """Raises NoStack."""
        try:
            found = clients("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                raise NoStack(f"there is no stack {stack}") from error
            raise
        return cls(clients, stack, {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])})

    @property
    def endpoint(self) -> str:
        return self.outputs["EndpointName"]

    @property
    def prefix(self) -> str:
        return self.endpoint.removesuffix("-recommender")

    def plan(self) -> list[str]:
        """Return the steps as sentences; the last one says what stays."""
        made = [f"{kind} {name}" for kind, name in self._made()]
        return [
            *(f"stop the execution {arn.rpartition(':')[2]}" for arn in self._running()),
            *(f"delete the {one}" for one in made),
            f"delete the stack {self.stack}",
            KEPT,
        ]

    def remove(self, say: Callable[[str], None]) -> None:
        """Remove everything, telling each step. Executions end first, so that no run makes an endpoint again."""
        states, sagemaker = self.clients("stepfunctions"), self.clients("sagemaker")
        for arn in self._running():
            states.stop_execution(executionArn=arn, error="Teardown", cause="the stack is being removed")
            say(f"stopped the execution {arn.rpartition(':')[2]}")
        # Or it would bring the endpoint back meanwhile.
        rest = functools.partial(self.clients("scheduler").delete_schedule, Name=f"{self.prefix}-rest-endpoint")
        _unless_gone(rest)
        self._end_scaling()
        delete: dict[str, Callable[[str], Any]] = {
            "endpoint": self._delete_endpoint,
            "endpoint configuration": lambda name: sagemaker.delete_endpoint_config(EndpointConfigName=name),
            "model": lambda name: sagemaker.delete_model(ModelName=name),
        }
        for kind, name in list(self._made()):
            _unless_gone(functools.partial(delete[kind], name))
            say(f"deleted the {kind} {name}")
        cloudformation = self.clients("cloudformation")
        cloudformation.delete_stack(StackName=self.stack)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=self.stack)
        say(f"deleted the stack {self.stack}")
        say(KEPT)

    def _running(self) -> Iterator[str]:
        states = self.clients("stepfunctions")
        for machine in MACHINES:
            pages = states.get_paginator("list_executions").paginate(
                stateMachineArn=self.outputs[f"{machine}StateMachineArn"], statusFilter="RUNNING"
            )
            yield from (execution["executionArn"] for page in pages for execution in page["executions"])

    def _made(self) -> Iterator[tuple[str, str]]:
        """Yield kind and name of what runs have made, in the order of deletion. Names of other stacks never match."""
        sagemaker = self.clients("sagemaker")
        ours = re.compile(rf"{re.escape(self.prefix)}-{RUN_ID.pattern}(-s[0-9a-f]{{8}})?")
        for kind, operation, key, name in (
            ("endpoint", "list_endpoints", "Endpoints", "EndpointName"),
            ("endpoint configuration", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("model", "list_models", "Models", "ModelName"),
        ):
            for page in sagemaker.get_paginator(operation).paginate(NameContains=f"{self.prefix}-"):
                for found in (entry[name] for entry in page[key]):
                    if found == self.endpoint if kind == "endpoint" else ours.fullmatch(found):
                        yield kind, found

    def _delete_endpoint(self, name: str) -> None:
        sagemaker = self.clients("sagemaker")
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)

    def _end_scaling(self) -> None:
        """Also where the endpoint is gone: a target that was left would scale the next endpoint of the name."""
        scaling = self.clients("application-autoscaling")
        for variant in VARIANTS:
            target = {
                "ServiceNamespace": "sagemaker",
                "ResourceId": f"endpoint/{self.endpoint}/variant/{variant}",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            }
            _unless_gone(functools.partial(scaling.deregister_scalable_target, **target))


def _unless_gone(call: Callable[[], Any]) -> None:
    try:
        call()
    except ClientError as error:
        code, message = error.response["Error"].get("Code", ""), str(error)
        absent = ("Could not find", "does not exist", "No scalable target found")
        if code != "ObjectNotFoundException" and not any(words in message for words in absent):
            raise
