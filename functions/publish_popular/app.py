"""Scheduled: publish what is popular and what is trending now, `serving/popular_now.json`.

The counts of each delivered file are added to the sum of its day, and all sums make the lists. A call that ends between
any two writes leaves what the next one goes on from: a sum names the files that are in it, and a file's counts are
removed hours after they were added, when no call that did not see them is under way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.config import Config

from contracts import item_counts, popular_now, withdrawn
from contracts.documents import Unfit
from contracts.withdrawn import Withdrawn
from publish_popular import catalogue
from publish_popular.catalogue import Catalogue
from publish_popular.document import Item, Lists, candidates
from publish_popular.rollup import Rollup
from publish_popular.windows import Windows, rises
from shared import environment
from shared.clients import client
from shared.errors import FunctionError
from shared.objects import Bucket
from shared.observability import count, logger, observed

MOST_FILES = 2000
"""Files that one call adds; the next call adds the others."""
SHOWN_ITEMS = 2000
"""Items whose fields are asked for, those in most lists first."""
_POPULAR = "serving/popular.json"


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    endpoint_name: str


SETTINGS = environment.load(Settings)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)
RUNTIME = client("sagemaker-runtime", Config(read_timeout=10))
CATALOGUE = Catalogue(RUNTIME, SETTINGS.endpoint_name)
CLOCK = time.time


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome": "PUBLISHED"|"NOTHING", "files"?, "items"?, "trending"?}`: how many files were added, and how
    many items are in a list. Raises DependencyFailed to be retried.
    """
    now = int(CLOCK())
    windows, files = Windows(now // 3600), _Files(now // 3600)
    for rollup in files.sums():
        windows.add(rollup.counts)
    earlier = ARTIFACTS.get(popular_now.KEY, popular_now.DOCUMENT_BYTES)
    if not files.are_any and earlier is None:
        return {"outcome": "NOTHING"}
    trending = rises(windows.totals["24h"], windows.totals["before"])
    lists, shown = _lists(windows, trending, earlier.content if earlier else b"{}")
    ARTIFACTS.put(popular_now.KEY, lists.to_json(now, shown))
    answer = {"files": files.added, "items": len(lists.named()), "trending": len(trending)}
    logger.info("popular items published", extra=answer)
    count("PopularPublished")
    return {"outcome": "PUBLISHED", **answer}


class _Files:
    """The counts of files, and the sums of days that they are added to."""

    def __init__(self, hour: int) -> None:
        self._hour = hour
        self.added = 0
        self.are_any = False

    def sums(self) -> Iterator[Rollup]:
        """Yield the sum of each day that counts, the latest first, with the files that came since."""
        versions: dict[str, dict[str, list[tuple[str, str]]]] = {}
        there: set[str] = set()
        for version in ARTIFACTS.versions(item_counts.FILES):
            place = item_counts.file_of_key(version.key)
            if place is not None:
                day, digest = place
                versions.setdefault(day, {}).setdefault(digest, []).append((version.key, version.version_id))
                if version.is_latest and not version.is_marker:
                    there.add(digest)
        stored = {name.removesuffix(".json.gz") for name in ARTIFACTS.sizes(item_counts.DAYS)}
        first = f"{datetime.fromtimestamp(self._hour * 3600, UTC) - timedelta(days=item_counts.DAYS_KEPT):%Y-%m-%d}"
        for day in sorted(stored | versions.keys(), reverse=True):
            files = versions.get(day, {})
            if day < first:
                self._remove(files.values())
                continue
            self.are_any = True
            rollup = self._sum(day)
            removable = rollup.removable(files, self._hour)
            new = [digest for digest in sorted(files) if digest in there and digest not in rollup.files]
            self._add(day, rollup, new[: MOST_FILES - self.added])
            self._remove(files[digest] for digest in removable)
            yield rollup

    def _sum(self, day: str) -> Rollup:
        key = f"{item_counts.DAYS}{day}.json.gz"
        found = ARTIFACTS.get(key)
        try:
            return Rollup.from_bytes(found.content, key) if found else Rollup()
        except Unfit as error:
            _unreadable(error)
            return Rollup()

    def _add(self, day: str, rollup: Rollup, digests: list[str]) -> None:
        for digest in digests:
            key = f"{item_counts.FILES}{day}/{digest}.json.gz"
            found = ARTIFACTS.get(key)
            if found is None:  # removed by another call, which added it
                continue
            try:
                rollup.add(digest, item_counts.unpack(found.content, key)["counts"], self._hour)
            except Unfit as error:
                _unreadable(error)
                rollup.add(digest, {}, self._hour)
            self.added += 1
        if digests or rollup.needs_tidying(self._hour):
            rollup.tidy(self._hour)
            content = item_counts.pack(rollup.to_document())
            ARTIFACTS.put(f"{item_counts.DAYS}{day}.json.gz", content, "application/gzip")

    def _remove(self, files: Iterable[list[tuple[str, str]]]) -> None:
        for versions in files:
            for key, version_id in versions:
                ARTIFACTS.delete_version(key, version_id)


def _lists(windows: Windows, trending: dict[str, float], earlier: bytes) -> tuple[Lists, dict[str, Item]]:
    """Return the lists of the items that the shop has, and what may be shown of these. While the endpoint does not
    answer, the items that are known are those of the earlier lists and the model's popular ones.
    """
    totals = windows.totals
    wanted = candidates([trending, totals["24h"], totals["7d"], totals["30d"]])
    gone, fallback = _withdrawn(), _popular()
    try:
        known = {item: one for item, one in CATALOGUE.known(wanted).items() if item not in gone}
        lists = Lists(totals, trending, known)
        return lists, CATALOGUE.shown(lists.named()[:SHOWN_ITEMS], catalogue.names_in(fallback))
    except FunctionError as error:
        logger.warning("the endpoint does not tell what items are; earlier items stay", extra={"reason": str(error)})
        count("PopularWithoutEndpoint")
    known = {item: one for item, one in (fallback | catalogue.of_earlier(earlier)).items() if item not in gone}
    return Lists(totals, trending, known), known


def _withdrawn() -> frozenset[str]:
    found = ARTIFACTS.get(withdrawn.KEY)
    try:
        return Withdrawn.from_json(found.content).items if found else frozenset()
    except Unfit as error:
        _unreadable(error)
        return frozenset()


def _popular() -> dict[str, Item]:
    found = ARTIFACTS.get(_POPULAR)
    try:
        return catalogue.of_popular(found.content) if found else {}
    except Unfit as error:
        _unreadable(error)
        return {}


def _unreadable(error: Unfit) -> None:
    count("CountsUnreadable")
    logger.warning("a document cannot be read, and does not count", extra={"reason": str(error)})
