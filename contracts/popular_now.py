"""`serving/popular_now.json`: what is popular now, by window and category, from the events of the last days.

    {"schemaVersion": "1.0", "writtenAt": "2026-11-29T10:15:00Z", "until": 1795947300,
     "popular": {"24h": {"events": 5310, "itemList": [["item id", 212]], "byCategory": {"Drama": [["item id", 12]]}},
                 "7d": {…}, "30d": {…}},
     "trending": {"events": 5310, "itemList": [["item id", 2.31]], "byCategory": {…}},
     "items": {"item id": {"categories": ["Drama"], "fields": {"title": "Heat"}}}}

`publish_popular` writes it, `recommend` reads it. `until` is the moment up to which events count, epoch seconds; the
windows are the last 24 hours, 7 days and 30 days that have begun (UTC). The score of a popular item is how often it was
chosen, that of a trending one how much its share rose.
"""

from __future__ import annotations

KEY = "serving/popular_now.json"
SCHEMA_VERSION = "1.0"
WINDOWS = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}
"""Length in hours of each window, the shortest first."""
LIST_ITEMS = 100
"""Most items of one list."""
CATEGORIES = 100
"""Most categories that have lists."""
LEAST_EVENTS = 1000
"""A window with fewer events says too little: the next longer one is used."""
FRESH_SECONDS = 6 * 3600
"""An older document is not used."""
DOCUMENT_BYTES = 8 << 20
"""Maximum bytes of the document."""
