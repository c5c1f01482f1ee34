"""Time limits of the emulated SageMaker, in seconds, from the host's environment variables."""

from __future__ import annotations

import os


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise ValueError(f"{name} must be a number of seconds from 0 to 86400, not {text!r}")
    return value


def stop_grace() -> float:
    """Seconds between SIGTERM and SIGKILL of a stopped training job; 120 on AWS."""
    return _seconds("LAPTOP_AWS_STOP_GRACE_SECONDS", 120)


def health_check() -> float:
    """Maximum seconds to the first healthy ``/ping`` of a container, even if its variant allows more."""
    return _seconds("LAPTOP_AWS_HEALTH_CHECK_SECONDS", 120)


def bake() -> float:
    """Maximum seconds between a traffic shift and the end of the old containers, even if the deployment configuration
    has more."""
    return _seconds("LAPTOP_AWS_BAKE_SECONDS", 2)


def restart_backoff() -> float:
    """Seconds before the first restart of a container that ended; doubled up to 30 s."""
    return _seconds("LAPTOP_AWS_RESTART_BACKOFF_SECONDS", 0.5)


def ping_interval() -> float:
    """Seconds between two ``/ping`` requests to a container in service; 5 on AWS."""
    return _seconds("LAPTOP_AWS_PING_SECONDS", 5)
