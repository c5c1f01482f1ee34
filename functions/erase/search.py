"""The search of each object that may have the id of a forgotten person."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from contracts import documents, layouts, sources
from contracts.archives import BadArchive
from contracts.documents import Unfit
from contracts.forgotten import Forgotten
from contracts.layouts import HEAD_BYTES
from contracts.limits import DROP_BYTES
from contracts.names import DROP_FILE
from erase import archive, plan, rows
from erase.plan import InUse, Progress, Request
from erase.rows import CannotTell, ForSpark, Keeps
from shared import batch_lists, names
from shared.ledger import Ledger
from shared.objects import Bucket, Version
from shared.records import UNFINISHED, DatasetStatus

MOST_BYTES = 5 * 10**9
"""Size of the largest file whose rows are looked at: a function reads it twice within its time."""
ERASED = "its files were prepared before people were forgotten, and are deleted"
_WITHOUT_RUN = (DatasetStatus.PREPARED, DatasetStatus.STALE)
_UNREADABLE = (ValueError, OSError, EOFError, zlib.error)


class Search:
    """One search, of which `progress` tells what was found."""

    def __init__(
        self,
        ledger: Ledger,
        buckets: Mapping[str, Bucket],
        people: Forgotten,
        in_use: InUse,
        progress: Progress,
        request: Request,
        parameters: Mapping[str, Any],
    ) -> None:
        self._ledger, self._data, self._artifacts = ledger, buckets["data"], buckets["artifacts"]
        self._people, self._in_use = people, in_use
        self._progress, self._request, self._parameters = progress, request, parameters
        self._said_by = cache(self._user_column_of)
        self._is_without = cache(lambda version: plan.is_without(ledger.dataset(version), progress.until))
        self._reader_of = cache(self._find_reader)

    def treat(self, prefix: str, version: Version) -> None:
        """Search one version of an object below `prefix`. Versions that were overwritten are deleted unread."""
        if not version.is_latest:
            bucket = self._data if prefix in ("raw/", "quarantine/", "datasets/") else self._artifacts
            bucket.delete_version(version.key, version.version_id)
            self._progress.remove("overwritten versions")
            return
        if version.is_marker:
            return
        self._progress.search("objects")
        self._progress.search("bytes", version.size)
        kinds: dict[str, Callable[[Version], None]] = {
            "raw/": self._dropped,
            "quarantine/": self._quarantined,
            "datasets/": self._dataset,
            "batch/": self._list,
            "runs/": self._golden,
            "training/": self._archive,
        }
        kinds[prefix](version)

    def _dropped(self, version: Version) -> None:
        name = version.key.removeprefix("raw/").partition("/")[2]
        if not version.size or sources.is_hidden(name) or sources.is_catalogue(name.rpartition("/")[2]):
            return
        try:
            ending = sources.ending_of(name)
            if ending == sources.PARQUET_ENDING or not ending:
                raise ForSpark("is Parquet") if ending else CannotTell("is of a kind whose rows are not known")
            self._rewrite(version, self._rule_of_drop)
        except _UNREADABLE as error:
            path = version.key.removeprefix("raw/")
            if isinstance(error, ForSpark) and self._progress.hand_over(path, self._named_column(version.key)):
                return
            # Only the words of CannotTell have nothing of the file's content.
            reason = error if isinstance(error, CannotTell) else "cannot be read as rows"
            if self._request.delete_unreadable:
                self._delete(self._data, version, "files that could not be read")
            else:
                self._progress.remain(f"{version.key} {reason}: write it again without these people, or delete it")

    def _quarantined(self, version: Version) -> None:
        if not version.size or not version.key.endswith(".json") or "/rows/" not in version.key:
            return
        try:
            self._rewrite(version, self._rule_of_quarantine)
        except _UNREADABLE:  # nothing reads it but people
            self._delete(self._data, version, "files of the quarantine")

    def _rule_of_quarantine(self, head: bytes, is_whole: bool, key: str) -> tuple[layouts.Layout, Keeps]:
        return rows.layout_of(head, is_whole, key), rows.quarantined(self._people)

    def _rule_of_drop(self, head: bytes, is_whole: bool, key: str) -> tuple[layouts.Layout, Keeps]:
        layout = rows.layout_of(head, is_whole, key)
        column = rows.user_column(layout, self._named_column(key), key)
        if column is not None:
            return layout, rows.interactions(layout, column, self._people)
        found = self._count(key, layout, rows.anywhere(self._people))
        if found.theirs:
            raise CannotTell(f"has the id in {found.theirs} rows, and it is not sure which column holds users")
        return layout, lambda text: True

    def _named_column(self, key: str) -> str | None:
        """The column of users that the file's drop names, or else the stack's parameters."""
        folder = key
        while (folder := folder.rpartition("/")[0]) not in ("raw", ""):
            if named := self._said_by(folder):
                return named
        named = self._parameters.get("userColumn")
        return None if named is None else str(named)

    def _user_column_of(self, folder: str) -> str | None:
        found = self._data.get(f"{folder}/{DROP_FILE}", DROP_BYTES, forbidden_is_absent=True)
        try:
            said = documents.read_object(found.content, DROP_FILE, has_schema=True) if found else {}
        except Unfit:
            return None
        named = said.get("userColumn")
        return named if isinstance(named, str) else None

    def _rewrite(self, version: Version, rule: Callable[[bytes, bool, str], tuple[layouts.Layout, Keeps]]) -> None:
        """Write a file again without the rows of forgotten people, if it has any. Raises one of _UNREADABLE."""
        key = version.key
        if version.size > MOST_BYTES:
            raise ForSpark(f"has {version.size} bytes, more than {MOST_BYTES}, which a function cannot rewrite in time")
        packing = sources.compression_of(key)
        head = rows.unpacked(self._data.open(key), packing).read(HEAD_BYTES + 1)
        layout, keeps = rule(head[:HEAD_BYTES], len(head) <= HEAD_BYTES, key)
        found = self._count(key, layout, keeps)
        self._progress.search("rows", found.rows)
        if found.theirs:
            lines = rows.kept(rows.unpacked(self._data.open(key), packing), layout, keeps)
            self._data.put_pieces(key, rows.packed(lines, packing))
            self._data.delete_earlier(key)
            self._progress.remove("rows", found.theirs)
            self._progress.remove("files written again")

    def _count(self, key: str, layout: layouts.Layout, keeps: Keeps) -> rows.Counted:
        return rows.count(rows.unpacked(self._data.open(key), sources.compression_of(key)), layout, keeps)

    def _dataset(self, version: Version) -> None:
        """The tables of a dataset version that a preparation wrote before it knew the tombstones are deleted. The
        manifest stays: it has no id, and reports and batches read it.
        """
        name = plan.version_in(version.key)
        if name is None or version.key.endswith("/manifest.json") or self._is_without(name):
            return
        reason = self._in_use.versions.get(name) or self._reader_of(name)
        if reason is not None:
            self._progress.remain(f"datasets/{name}/ was prepared before the tombstones: {reason}")
            return
        self._delete(self._data, version, "files of dataset versions")

    def _find_reader(self, name: str) -> str | None:
        """Return the reason if a run has begun to read the version since the search began. One that waits for a run is
        set aside, because reconcile would announce it and its training fail.
        """
        others = tuple(status for status in DatasetStatus if status not in _WITHOUT_RUN)
        if self._ledger.mark_dataset(name, DatasetStatus.QUARANTINED, [ERASED], unless=others):
            return None
        run = self._ledger.run(names.run_id(name))
        return "a run that is not over reads it" if run and run["status"] in UNFINISHED else None

    def _list(self, version: Version) -> None:
        if "/lists/" in version.key and version.size:
            self._progress.remove("lists of batches", batch_lists.strike(self._artifacts, version.key, self._people))

    def _golden(self, version: Version) -> None:
        if not version.key.endswith("/golden.json"):
            return
        found = self._artifacts.get(version.key)
        try:
            has_id = bool(found and self._people.among(archive.ids_in_golden(found.content)))
        except Unfit:
            self._progress.remain(f"{version.key} cannot be read")
            return
        if has_id:
            self._remove_of_run(version, "golden requests")

    def _archive(self, version: Version) -> None:
        if not version.key.endswith((".tar.gz", ".tgz")):
            return
        try:
            has_id = bool(self._people.among(archive.ids_in(self._artifacts.open(version.key))))
        except (Unfit, BadArchive, MemoryError) as error:
            self._progress.remain(f"{version.key} cannot be read: {type(error).__name__}")
            return
        if has_id:
            self._remove_of_run(version, "archives of trainings")

    def _remove_of_run(self, version: Version, kind: str) -> None:
        """Delete an object of a run, unless the run's model is in use. The model cannot be gone back to then."""
        run_id = plan.run_in(version.key)
        reason = self._in_use.runs.get(run_id) if run_id else "no run is known to have written it"
        if run_id is None or reason is not None:
            self._progress.remain(f"{version.key} has the id of a forgotten person: {reason}")
            return
        if self._ledger.champion(run_id) is not None:
            self._ledger.retire_champion(run_id)
            self._progress.remove("models to go back to")
        self._delete(self._artifacts, version, kind)

    def _delete(self, bucket: Bucket, version: Version, kind: str) -> None:
        bucket.delete_version(version.key, version.version_id)
        self._progress.remove(kind)
