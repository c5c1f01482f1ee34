"""Datasets for the tests of `ncf`."""

from tests.unit.ncf.datasets import (  # noqa: F401
    checkerboard_pairs,
    rewrite_manifest,
    shop_dataset,
    shop_pairs,
    table,
    write,
)
