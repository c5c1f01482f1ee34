"""How the model server says on which device it computes: in the header CUSTOM_ATTRIBUTES of each answer, which
SageMaker hands on to the caller.
"""

from __future__ import annotations

import re

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_DEVICE = re.compile(r"device=(cpu|cuda)")


def attributes(device: str) -> str:
    """Return the header's value; `device` is cpu or cuda."""
    return f"device={device}"


def device_in(value: str | None) -> str | None:
    """Return the device in the header's value; None for a server that does not say it."""
    match = _DEVICE.fullmatch(value or "")
    return match[1] if match else None
