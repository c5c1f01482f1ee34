"""Regular expressions of names, for `fullmatch`. They allow only ASCII digits; `\\d` and `int()` accept those of other
scripts too.
"""

from __future__ import annotations

import re

_VERSION = r"v[0-9]{8}t[0-9]{6}z-[0-9a-f]{8}"

DATASET_VERSION = re.compile(_VERSION)
"""`v<UTC yyyymmdd>t<hhmmss>z-<8 hex>`: sorts by time."""
RUN_ID = re.compile(rf"({_VERSION})-r([1-9][0-9]{{0,3}})")
"""A dataset version and an attempt. Groups: dataset version, attempt."""
MANIFEST_KEY = re.compile(rf"datasets/({_VERSION})/manifest\.json")
MARKER_KEY = re.compile(r"raw/(?:[^/]+/)+_SUCCESS")
DROP_FILE = "_drop.json"
"""The file of a drop that has the parameters of its preparation."""
SHA256 = re.compile(r"[0-9a-f]{64}")

EXAMPLE_VERSION = "v20260102t030405z-0a1b2c3d"
EXAMPLE_RUN_ID = f"{EXAMPLE_VERSION}-r1"
