"""Changes of a deployed function as a release makes them: a new version, which the state machines call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def configured(client: Callable[[str], Any], name: str, **variables: str) -> Iterator[None]:
    """The function `name` with some environment variables changed inside the block; `client` makes boto3's clients."""
    before = client("lambda").get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    _release(client, name, before | variables)
    try:
        yield
    finally:
        _release(client, name, before)


def _release(client: Callable[[str], Any], name: str, variables: dict[str, str]) -> None:
    functions, machines = client("lambda"), client("stepfunctions")
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    version = functions.publish_version(FunctionName=name)["Version"]
    for machine in machines.list_state_machines()["stateMachines"]:
        arn = machine["stateMachineArn"]
        definition = machines.describe_state_machine(stateMachineArn=arn)["definition"]
        changed = re.sub(rf"(:function:{name}):\d+", rf"\g<1>:{version}", definition)
        if changed != definition:
            machines.update_state_machine(stateMachineArn=arn, definition=changed)
