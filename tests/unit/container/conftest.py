"""Fixtures: a dataset for the image's training, and a bundle for its server."""

from tests.unit.ncf.datasets import (  # noqa: F401
    checkerboard_pairs,
    rewrite_manifest,
    shop_dataset,
    shop_pairs,
    table,
    write,
)
from tests.unit.serving.conftest import bundle_directory, make_bundle  # noqa: F401
