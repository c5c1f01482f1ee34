"""On what a machine can compute, by its type; and how the model server says on which device it computes: in the header
CUSTOM_ATTRIBUTES of each answer, which SageMaker hands on to the caller.
"""

from __future__ import annotations

import re

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_DEVICE = re.compile(r"device=(cpu|cuda)")
_GPU = re.compile(r"ml\.(g|gr|p)[0-9]")
_ARM = re.compile(r"ml\.[a-z]+[0-9]+g[a-z]*\.")


def has_gpu(instance_type: str | None) -> bool:
    """True for a SageMaker instance type with GPUs, such as ml.g4dn.xlarge."""
    return instance_type is not None and _GPU.match(instance_type) is not None


def is_arm(instance_type: str) -> bool:
    """True for a SageMaker instance type with Graviton processors, such as ml.c7g.xlarge."""
    return _ARM.match(instance_type) is not None


def attributes(device: str) -> str:
    """Return the header's value; `device` is cpu or cuda."""
    return f"device={device}"


def device_in(value: str | None) -> str | None:
    """Return the device in the header's value; None for a server that does not say it."""
    match = _DEVICE.fullmatch(value or "")
    return match[1] if match else None
