"""Common code of the peers: command line, timing of the training, and the JSON line at the end of the output.

A peer trains in parts. A part is a few batches of positives, with negatives that it draws itself. The warm-up takes a
fifth of the time and does not count; then whole parts are counted until the time has passed. A sample is one (user,
item) pair, positive or negative, in a training step. The time includes negatives, batches and steps, but not reading
the data and building the model; processor time includes all threads. Peak memory is that of the whole process.
"""

import argparse
import json
import math
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 1
LEARNING_RATE = 0.001


@dataclass(frozen=True)
class Pairs:
    """The positives: distinct pairs of indices, as int64 arrays of the same length."""

    user: np.ndarray
    item: np.ndarray
    users: int
    items: int


@dataclass(frozen=True)
class Part:
    """Measurements of one part of the training."""

    samples: int
    loss: float
    """Mean loss over the steps of the part."""


def parse_arguments(description: str) -> argparse.Namespace:
    """Read the command line of a peer. An invalid one ends the process with exit status 2 and the reason."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The last line on stdout is the measurement, as JSON.",
    )
    parser.add_argument("--data", type=_pairs, required=True, metavar="FILE.npz", help="user, item, users, items")
    parser.add_argument("--factors", type=_positive, default=8, help="width of GMF's embeddings (default: 8)")
    parser.add_argument(
        "--layers",
        type=_layers,
        default="32,16,8",
        help="widths of the MLP's layers; the first is that of both embeddings together (default: 32,16,8)",
    )
    parser.add_argument("--batch", type=_positive, default=2048, help="samples per step (default: 2048)")
    parser.add_argument("--negatives", type=_positive, default=4, help="negatives per positive (default: 4)")
    parser.add_argument("--seconds", type=_seconds, default=10, help="minimum time of the measurement (default: 10)")
    parser.add_argument("--threads", type=_positive, default=1, help="number of torch's threads (default: 1)")
    return parser.parse_args()


def batches_of_positives(batch: int) -> int:
    """Return the number of batches of positives in a part: enough to make the cost of starting a part negligible."""
    return max(1, 16_384 // batch)


def measure(train_part: Callable[[], Part], seconds: float, **about: str | int) -> None:
    """Warm up, train for at least `seconds`, and print the measurement as JSON; `about` has additional fields."""
    _train(train_part, seconds / 5)
    wall, cpu = time.perf_counter(), time.process_time()
    parts = _train(train_part, seconds)
    measurement = {
        **about,
        "samples": sum(part.samples for part in parts),
        "cpuSeconds": round(time.process_time() - cpu, 3),
        "wallSeconds": round(time.perf_counter() - wall, 3),
        "peakRssMiB": _peak_rss_mib(),
        "loss": round(parts[-1].loss, 4),
    }
    print(json.dumps(measurement))


def _train(train_part: Callable[[], Part], seconds: float) -> list[Part]:
    started = time.perf_counter()
    parts = [train_part()]
    while time.perf_counter() - started < seconds:
        parts.append(train_part())
    return parts


def _peak_rss_mib() -> int:
    """Return the peak memory of this program alone. getrusage's maximum may be that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None, "Linux says so for every process"
    return int(found[1]) // 1024


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return seconds


def _layers(text: str) -> tuple[int, ...]:
    widths = tuple(_positive(width) for width in text.split(","))
    if len(widths) < 2 or widths[0] % 2:
        raise argparse.ArgumentTypeError(f"must be two or more widths, the first one even, not {text!r}")
    return widths


def _pairs(text: str) -> Pairs:
    try:
        with np.load(text) as data:
            pairs = Pairs(data["user"], data["item"], int(data["users"]), int(data["items"]))
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise argparse.ArgumentTypeError(
            f"{text} is not an .npz file with user, item, users and items: {error}"
        ) from error
    for name, indices, bound in (("user", pairs.user, pairs.users), ("item", pairs.item, pairs.items)):
        if indices.dtype != np.int64 or indices.ndim != 1 or len(indices) == 0:
            raise argparse.ArgumentTypeError(f"{name} in {text} must be an int64 array with one axis, and not empty")
        if indices.min() < 0 or indices.max() >= bound:
            raise argparse.ArgumentTypeError(f"{name} in {text} must be within 0 and {bound - 1}")
    if len(pairs.user) != len(pairs.item):
        raise argparse.ArgumentTypeError(f"{text} has {len(pairs.user)} users for {len(pairs.item)} items")
    if np.bincount(pairs.user).max() >= pairs.items:
        raise argparse.ArgumentTypeError(f"{text} has a user with every item, for whom no negative can be drawn")
    return pairs
