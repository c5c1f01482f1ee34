"""Notes of a verdict beside its checks: stronger baselines without a limit, floors that were not checked, and a GPU
or machines that were not used. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluate.policy import Policy
from shared import gpus

_WORDS = {"fullNdcg": "NDCG at {k}", "withRepeatsNdcg": "NDCG at {k} with items that people had before"}


def stronger(
    figures: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], policy: Policy, k: int
) -> Iterator[str]:
    """Yield a sentence for the best baseline of a figure if it is better than the model and the policy has no limit."""
    for figure, words in _WORDS.items():
        unlimited = {
            name: measured[figure]
            for name, measured in baselines.items()
            if figure in measured and figure not in policy.gains_over(name)
        }
        if figure in figures and unlimited:
            best = max(sorted(unlimited), key=lambda name: unlimited[name])
            value, ours = unlimited[best], figures[figure]
            if value > ours:
                yield (
                    f"note: the baseline {best.replace('_', ' ')} is better than this model: {words.format(k=k)} is "
                    f"{value:.4f} against {ours:.4f}; a limit would be baselineGains.{best}.{figure} of the policy"
                )


def unchecked(slices: Mapping[str, Any], policy: Policy) -> Iterator[str]:
    """Yield a sentence for each slice with a floor in the policy that is missing or too small."""
    asked = {name for name, floors in policy.slice_floors.items() if floors}
    for name in sorted(asked - {name for name, _ in policy.checked_floors(slices)}):
        users = slices.get(name, {}).get("users", 0)
        yield (
            f"note: the floor of {name} was not checked: {users} test users are in it, "
            f"below the minimum of {policy.minimum_slice_users}"
        )


def without_gpu(instance_type: str | None, device: str | None) -> str | None:
    """Return a sentence if the training ran on the CPU of a machine with a GPU, which costs three times as much."""
    otherwise = "PyTorch found no CUDA device (its log says why), or the hyperparameter device is cpu"
    sentence = gpus.unused(
        "the training", instance_type, device, f"{otherwise}; TrainingInstanceType may be a CPU type"
    )
    return f"note: {sentence}" if sentence else None


def idle_machines(paid: int | None, used: int | None, model: str) -> str | None:
    """Return a sentence if the training used fewer machines than were paid for. None if one of the numbers is unknown,
    as in older reports.
    """
    if paid is None or used is None or used >= paid:
        return None
    return (
        f"note: the training paid for {paid} machines and used {used}: {model} is trained on one; set "
        f"TrainingInstanceCount to 1"
    )
