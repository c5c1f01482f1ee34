"""Limits that more than one program enforces. A test compares them with those in the schemas."""

from __future__ import annotations

ID_CHARACTERS = 256
"""Maximum characters of a user id or an item id."""
PARAMETER_CHARACTERS = 256
"""Maximum characters of a hyperparameter (SageMaker's limit) and of a preparation parameter."""
WEIGHTS_CHARACTERS = 4096
"""Maximum characters of the preparation parameter `eventWeights`."""
CANDIDATES = 1000
"""Maximum items in a ranking request."""
RESULTS = 100
"""Maximum items in one list."""
DEFAULT_RESULTS = 10
EXCLUDED = 100
"""Maximum items that a request leaves out."""
PLACEMENTS = 50
"""Maximum placements of a shop: each is a dimension of metrics."""
HISTORY = 100
"""Maximum items in the history of a request."""
REQUEST_BYTES = 1 << 20
EVENTS = 25
"""Maximum events in a request."""
EVENTS_BYTES = 1 << 18
"""Maximum bytes of a request with events."""
IMPRESSION_ITEMS = CANDIDATES
"""Maximum items in the impression list of an event: those of the longest list that the API gives."""
EVENT_VALUE = 10**12
"""Greatest value of an event, also below zero."""

RULE_ITEMS = 1000
"""Maximum denied items, and maximum boosted items."""
CATEGORIES = 100
"""Maximum requested categories, and maximum categories with a cap."""
BOOST = 100
CATEGORY_CAP = 100
REASONS = 3
"""Most items of a history that an answer names for one item."""
EXPLORATION_SHARE = 0.5
"""Greatest share of a list's places for items that few people know."""
EXPLORATION_INTERACTIONS = 1000
RULES_BYTES = 1 << 20
DROP_BYTES = 1 << 16
"""Maximum bytes of a drop's `_drop.json`."""

FIELDS = 40
"""Maximum fields of an item that an answer shows: title, category, and columns of the catalogue."""
PART_FIELDS_BYTES = 1 << 20
"""Maximum bytes of the items' fields in one part of a batch: functions keep several parts in memory."""

BATCH_PARTS = 100_000
