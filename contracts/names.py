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
LIVE_FOLDER = re.compile(r"live-([0-9]{4}-[0-9]{2}-[0-9]{2})")
"""The folder below `raw/` of the events that arrived on a day (UTC). Group: the day."""
DROP_FILE = "_drop.json"
"""The file of a drop that has the parameters of its preparation."""
SHA256 = re.compile(r"[0-9a-f]{64}")

EXAMPLE_VERSION = "v20260102t030405z-0a1b2c3d"
EXAMPLE_RUN_ID = f"{EXAMPLE_VERSION}-r1"
