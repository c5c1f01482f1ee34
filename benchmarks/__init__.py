"""Benchmarks: our code and a peer are measured in the same run. They report medians and ratios, and never fail."""
