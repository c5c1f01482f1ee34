"""Combinations of the template's parameters that cannot work, and that no Rule of a template can see: rules compare
whole values, and know no parts of them.

The deployment refuses them (`functions/publish_code`), and preflight before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from contracts import devices, documents, hours
from contracts.documents import Unfit

JSON = ("PreparationParameters", "Hyperparameters", "GatePolicy", "TrialLimits")
INSTANCE_TYPES = ("TrainingInstanceType", "EndpointInstanceType", "BatchInstanceType")
LONGEST_ANSWER_MILLISECONDS = 8000
"""What the API may wait for in one answer: its function has 10 s, and needs some itself."""
CONNECTING = 5
"""A read of recent events may take so many times RecentEventsMilliseconds where a connection must be opened."""


def faults(values: Mapping[str, str], region: str) -> Iterator[str]:
    """Yield a sentence for each combination that cannot work; `values` are those of all parameters, as text."""
    for name in INSTANCE_TYPES:
        if devices.is_arm(values[name]):
            yield f"{name} {values[name]} has an ARM processor, and the image is for x86: choose another type"
    yield from _machines_faults(values)
    for name in JSON:
        try:
            documents.read_object(values[name], name)
        except Unfit as error:
            yield str(error)
    try:
        hours.parse(values["EndpointHours"])
    except ValueError as error:
        yield f"EndpointHours {error}"
    longest = int(values["RequestBudgetMilliseconds"]) + CONNECTING * int(values["RecentEventsMilliseconds"])
    if longest > LONGEST_ANSWER_MILLISECONDS:
        yield (
            f"RequestBudgetMilliseconds and {CONNECTING} × RecentEventsMilliseconds are {longest} ms together, more "
            f"than {LONGEST_ANSWER_MILLISECONDS} ms: the API would be stopped before it answers"
        )
    key = values["KmsKeyArn"]
    if key and key.split(":")[3] != region:
        yield f"KmsKeyArn is a key of {key.split(':')[3]}, and the stack is in {region}: a key works in its region only"


def _machines_faults(values: Mapping[str, str]) -> Iterator[str]:
    kind, image = values["EndpointInstanceType"], values["EndpointInferenceAmiVersion"]
    if "gpu" in image and not devices.has_gpu(kind):
        yield (
            f"EndpointInferenceAmiVersion {image} is a host image for GPUs, and EndpointInstanceType {kind} has none: "
            "leave EndpointInferenceAmiVersion empty, or choose a type with a GPU"
        )
    if devices.has_gpu(values["BatchInstanceType"]):
        yield (
            f"BatchInstanceType {values['BatchInstanceType']} has a GPU, which the image could not use: Batch "
            "Transform has no host image for CUDA 13. Choose a CPU type"
        )
    least, most = int(values["EndpointInstanceCount"]), int(values["EndpointMaximumInstances"])
    if 0 < most < least:
        yield (
            f"EndpointMaximumInstances is {most}, below EndpointInstanceCount, {least}: set it to at least {least}, "
            "or to 0 for an endpoint that does not scale"
        )
