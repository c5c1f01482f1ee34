"""Whether a job that has a run's name is the run's own: the traits of both are compared. Pure.

Traits are read from the call that creates a job, and from its description by AWS, which has the same members and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN_DIFFERENCES = 5
SHOWN_CHARACTERS = 200

UNASKED = ("ShadowProductionVariants", "DataCaptureConfig", "AsyncInferenceConfig", "ExplainerConfig")
"""What no endpoint configuration of ours has: who gets requests or answers beside the model and its caller."""
_OF_VARIANT = {
    "model": "ModelName",
    "weight": "InitialVariantWeight",
    "instance type": "InstanceType",
    "instances": "InitialInstanceCount",
    "machine image": "InferenceAmiVersion",
}

Traits = Mapping[str, str]
"""What a job is, by the name of the trait as a sentence has it, such as `hyperparameter epochs`."""


def training(job: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, str]:
    """Return the traits of a training job from CreateTrainingJob or DescribeTrainingJob, with the tags to compare."""
    algorithm = job["AlgorithmSpecification"]
    entry = [*algorithm.get("ContainerEntrypoint", []), *algorithm.get("ContainerArguments", [])]
    channels = {channel["ChannelName"]: channel["DataSource"] for channel in job.get("InputDataConfig", [])}
    return {
        "image": algorithm.get("TrainingImage", ""),
        **({"entry point": " ".join(entry)} if entry else {}),
        "role": job.get("RoleArn", ""),
        "output": job.get("OutputDataConfig", {}).get("S3OutputPath", "").rstrip("/"),
        "checkpoints": job.get("CheckpointConfig", {}).get("S3Uri", ""),
        "network isolation": str(job.get("EnableNetworkIsolation", False)),
        **{f"channel {name}": _location(source) for name, source in channels.items()},
        **{f"hyperparameter {name}": value for name, value in job.get("HyperParameters", {}).items()},
        **_environment(job),
        **{f"tag {name}": value for name, value in tags.items()},
    }


def transform(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the traits of a transform job from CreateTransformJob or DescribeTransformJob."""
    given, written = job["TransformInput"], job.get("TransformOutput", {})
    processing = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None", **job.get("DataProcessing", {})}
    return {
        "model": job["ModelName"],
        "batch strategy": job.get("BatchStrategy", ""),
        "input": _location(given["DataSource"]),
        "content type": given.get("ContentType", ""),
        "split": given.get("SplitType", "None"),
        "output": written.get("S3OutputPath", "").rstrip("/"),
        "accept": written.get("Accept", ""),
        "assembly": written.get("AssembleWith", "None"),
        **{name: str(value) for name, value in processing.items()},
        **_environment(job),
    }


def model(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the traits of a model from CreateModel or DescribeModel."""
    container = described.get("PrimaryContainer", {})
    return {
        "image": container.get("Image", ""),
        "archive": container.get("ModelDataUrl", ""),
        "role": described.get("ExecutionRoleArn", ""),
        **_environment(container),
    }


def endpoint_config(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the traits of an endpoint configuration from CreateEndpointConfig or DescribeEndpointConfig."""
    variants = {variant["VariantName"]: variant for variant in described.get("ProductionVariants", [])}
    return {
        **{
            f"{trait} of variant {name}": str(variant.get(member, ""))
            for name, variant in variants.items()
            for trait, member in _OF_VARIANT.items()
        },
        **{name: "set" for name in UNASKED if described.get(name)},
    }


def differences(wanted: Traits, found: Traits) -> list[str]:
    """Return a phrase for each trait that differs; empty if the job is the wanted one."""
    phrases = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            phrases.append(f"{name} is missing")
        elif name not in wanted:
            phrases.append(f"{name} is {_shown(found[name])}, which the run did not ask for")
        elif wanted[name] != found[name]:
            phrases.append(f"{name} is {_shown(found[name])}, not {_shown(wanted[name])}")
    return phrases


def sentence(what: str, phrases: list[str], remedy: str) -> str:
    """Return the refusal to adopt `what`, such as `training job ncf-…`."""
    shown = phrases[:SHOWN_DIFFERENCES]
    more = len(phrases) - len(shown)
    return (
        f"{what} exists and is not the one of this run: {'; '.join(shown)}{f'; and {more} more' if more else ''}. "
        f"It was left alone. {remedy}"
    )


def _location(source: Mapping[str, Any]) -> str:
    place = source.get("S3DataSource", {})
    kind = place.get("S3DataType", "S3Prefix")
    uri = str(place.get("S3Uri", "")) or str(dict(source))
    return uri if kind == "S3Prefix" else f"{kind} {uri}"


def _environment(job: Mapping[str, Any]) -> dict[str, str]:
    return {f"environment {name}": value for name, value in job.get("Environment", {}).items()}


def _shown(value: str) -> str:
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
