"""Limits that more than one program holds. The schemas hold the same ones, which a test compares."""

from __future__ import annotations

ID_CHARACTERS = 256
"""Of a user's or an item's id."""
PARAMETER_CHARACTERS = 256
"""Of a hyperparameter (SageMaker's limit) or of a parameter of the preparation, as text."""
CANDIDATES = 1000
"""Items in one request to be ranked."""
RESULTS = 100
"""Items in one list."""
DEFAULT_RESULTS = 10
REQUEST_BYTES = 1 << 20

RULE_ITEMS = 1000
"""Items that are denied, and items that are boosted, each."""
CATEGORIES = 100
"""Categories that are asked for, and categories with a cap, each."""
BOOST = 100
CATEGORY_CAP = 100
RULES_BYTES = 1 << 20

BATCH_PARTS = 10_000
