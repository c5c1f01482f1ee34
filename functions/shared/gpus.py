"""Whether a machine that was asked for its GPU computed on its CPU. Pure."""

from __future__ import annotations

from contracts.devices import has_gpu


def unused(what: str, instance_type: str | None, device: str | None, otherwise: str) -> str | None:
    """Return a sentence if `what` ran on the CPU of a machine with a GPU. None if it did not, or if the type or the
    device is unknown, as in older reports.
    """
    if device != "cpu" or not has_gpu(instance_type):
        return None
    return f"{what} asked for {instance_type}, a GPU machine, and ran on its CPU: {otherwise}"
