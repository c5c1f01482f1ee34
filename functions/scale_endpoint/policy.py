"""The calls of Application Auto Scaling for the endpoint's variant. Pure."""

from __future__ import annotations

from typing import Any

from shared import names

# Cooldowns in seconds. An instance takes minutes to start, so the fleet grows fast and shrinks slowly.
GROW_SECONDS = 60
SHRINK_SECONDS = 600


def target(endpoint_name: str, minimum: int, maximum: int) -> dict[str, Any]:
    """Return the RegisterScalableTarget call."""
    return {**names.scalable_target(endpoint_name), "MinCapacity": minimum, "MaxCapacity": maximum}


def tracking(endpoint_name: str, requests_per_minute: int) -> dict[str, Any]:
    """Return the PutScalingPolicy call that keeps `requests_per_minute` per instance."""
    return {
        "PolicyName": f"{endpoint_name}-requests",
        **names.scalable_target(endpoint_name),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(requests_per_minute),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": GROW_SECONDS,
            "ScaleInCooldown": SHRINK_SECONDS,
        },
    }
