"""Benchmarks: our code and a peer are measured in the same run. They report medians and ratios, and never fail."""

import sys
from pathlib import Path

# The functions import each other from their own folder, as on Lambda; it is no package that can be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "functions"))
