"""The people and items that a model knows: titles to search in, and what each person chose.

catalogue = Catalogue(folder)       # the members that `control.archive.extract` wrote
catalogue.search_items("heat")      # the most popular first
catalogue.chosen_by("42")
"""

from __future__ import annotations

import json
import tempfile
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contracts.forgotten import NOBODY, PLACEHOLDER, Forgotten
from control import archive
from control.connection import Connection

FOUND = 20
"""Items or people of one search."""
MOST_LINES = 100_000
"""Lines that a search of several words looks at."""
PICTURE_NAMES = ("image", "picture", "poster", "cover", "thumb", "photo", "img", "artwork")
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif")


@dataclass(frozen=True)
class Item:
    """One item, with what the catalogue tells of it."""

    item_id: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        found = self.fields.get("title")
        return found if isinstance(found, str) and found.strip() else self.item_id

    @property
    def category(self) -> str:
        found = self.fields.get("category")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True)
class Found:
    """Result of a search, at most FOUND; `has_more` if there may be others."""

    indices: tuple[int, ...]
    has_more: bool


class Lines:
    """Texts to search in, one a line, in the order in which they are to be found."""

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        self.order = array("Q")
        self.starts = array("Q")
        content = bytearray(b"\n")
        for index, text in texts:
            self.order.append(index)
            self.starts.append(len(content))
            content += _plain(text).encode("utf-8", "replace")
            content += b"\n"
        self.content = bytes(content)

    def search(self, text: str, most: int = FOUND) -> Found:
        """The first lines that have every word of `text`: those that begin with it first, then in their order."""
        wanted = _plain(text).strip()
        words = sorted({word.encode("utf-8", "replace") for word in wanted.split()}, key=len, reverse=True)
        if not words:
            return Found((), False)
        places, is_cut = self._places(words, most)
        start = b"\n" + wanted.encode("utf-8", "replace")
        first = self.content.find(start)
        while first >= 0 and len(places) < 2 * most:
            place = bisect_right(self.starts, first + 1) - 1
            places.setdefault(place, None)
            first = self.content.find(start, first + 1) if len(places) < 2 * most else -1
        ordered = sorted(places, key=lambda place: (not self._begins(place, start[1:]), place))
        return Found(tuple(self.order[place] for place in ordered[:most]), is_cut or len(ordered) > most)

    def _places(self, words: Sequence[bytes], most: int) -> tuple[dict[int, None], bool]:
        places: dict[int, None] = {}
        position = 0
        for _ in range(MOST_LINES):
            position = self.content.find(words[0], position)
            if position < 0:
                return places, False
            place = bisect_right(self.starts, position) - 1
            end = self.content.index(b"\n", position)
            line = self.content[self.starts[place] : end]
            if all(word in line for word in words):
                if len(places) == most:
                    return places, True
                places[place] = None
            position = end
        return places, True

    def _begins(self, place: int, start: bytes) -> bool:
        return self.content.startswith(start, self.starts[place])


def _plain(text: str) -> str:
    """A text without line breaks and without regard to case."""
    return text.casefold().replace("\n", " ").replace("\r", " ")


class Catalogue:
    """People and items of one model. Raises `archive.Unusable` if a member is broken."""

    def __init__(self, folder: Path) -> None:
        self.item_ids = archive.strings(folder / archive.ITEM_IDS)
        self.user_ids = archive.strings(folder / archive.USER_IDS)
        self._item_index = {item_id: index for index, item_id in enumerate(self.item_ids)}
        self._user_index = {user_id: index for index, user_id in enumerate(self.user_ids)}
        self._fields = _optional(folder / archive.FIELDS)
        seen = archive.tensors(folder / archive.SEEN)
        self._pointers, self._seen = seen["indptr"], seen["indices"]
        self._bought = _optional(folder / archive.BOUGHT).get("is_bought")
        interactions = _optional(folder / archive.POPULARITY).get("interactions")
        self._interactions: Sequence[int] = interactions if interactions is not None else [0] * len(self.item_ids)
        if len(self._pointers) != len(self.user_ids) + 1 or len(self._interactions) != len(self.item_ids):
            raise archive.Unusable("The model's archive contradicts itself: its ids and its tables differ in number.")
        by_popularity = sorted(range(len(self.item_ids)), key=lambda index: -self._interactions[index])
        self._item_lines = Lines((index, self._line(index)) for index in by_popularity)
        self._user_lines = Lines(
            (index, user_id) for index, user_id in enumerate(self.user_ids) if not user_id.startswith(PLACEHOLDER)
        )

    def _line(self, index: int) -> str:
        item = self._item(index)
        return item.title if item.title == item.item_id else f"{item.title}\t{item.item_id}"

    def _item(self, index: int) -> Item:
        offsets, data = self._fields.get("offsets"), self._fields.get("data")
        if offsets is None or data is None:
            return Item(self.item_ids[index])
        try:
            fields = json.loads(bytes(data[offsets[index] : offsets[index + 1]]))
        except (ValueError, IndexError, RecursionError):
            fields = {}
        return Item(self.item_ids[index], fields if isinstance(fields, dict) else {})

    def item(self, item_id: str) -> Item:
        """The item of that id; one that the model does not know has only its id."""
        index = self._item_index.get(item_id)
        return Item(item_id) if index is None else self._item(index)

    def knows_item(self, item_id: str) -> bool:
        return item_id in self._item_index

    def search_items(self, text: str) -> tuple[list[Item], bool]:
        """Items with every word of `text` in title or id: the exact id, titles that begin with it, then the most
        popular. True if there are more.
        """
        found = self._item_lines.search(text)
        exact = self._item_index.get(text.strip())
        indices = [*([exact] if exact is not None else []), *(index for index in found.indices if index != exact)]
        return [self._item(index) for index in indices[:FOUND]], found.has_more

    def search_people(self, text: str, forgotten: Forgotten = NOBODY) -> tuple[list[str], bool]:
        """Ids of people with `text` in them, the exact one first; nobody who was forgotten. True if there are more."""
        found = self._user_lines.search(text)
        ids = [self.user_ids[index] for index in found.indices]
        exact = text.strip()
        if exact in self._user_index:
            ids = [exact, *(user_id for user_id in ids if user_id != exact)]
        return [user_id for user_id in ids[:FOUND] if not forgotten.digest_of(user_id)], found.has_more

    def knows_person(self, user_id: str) -> bool:
        """True if the model has learned something of the person."""
        return self.number_chosen(user_id) > 0

    def number_chosen(self, user_id: str) -> int:
        index = self._user_index.get(user_id)
        return 0 if index is None else self._pointers[index + 1] - self._pointers[index]

    def chosen_by(self, user_id: str, most: int = 50) -> list[tuple[Item, bool]]:
        """Items that the person had chosen when the model was made, bought ones and then least popular ones first:
        they tell most of the person. With each, whether it was bought.
        """
        index = self._user_index.get(user_id)
        if index is None:
            return []
        places = range(self._pointers[index], self._pointers[index + 1])
        bought = self._bought
        own = [(self._seen[place], bought is None or bool(bought[place])) for place in places]
        own.sort(key=lambda one: (not one[1], self._interactions[one[0]], one[0]))
        return [(self._item(item), is_bought) for item, is_bought in own[:most]]

    @property
    def tells_purchases(self) -> bool:
        return self._bought is not None

    def examples(self, count: int = 5) -> list[str]:
        """Some people with a medium history, always the same ones for a model."""
        step = max(1, len(self.user_ids) // 1000)
        some = [user_id for user_id in self.user_ids[::step] if not user_id.startswith(PLACEHOLDER)]
        some = sorted((one for one in some if self.number_chosen(one)), key=self.number_chosen)
        middle = some[len(some) // 4 : len(some) - len(some) // 4] or some
        step = max(1, len(middle) // count)
        return middle[::step][:count]


def _optional(path: Path) -> dict[str, memoryview]:
    return archive.tensors(path) if path.exists() else {}


def picture_of(fields: Mapping[str, Any]) -> str | None:
    """The address of a picture among an item's fields: http or https, in a column whose name says so, or with the
    ending of a picture.
    """
    for name, value in sorted(fields.items()):
        if not isinstance(value, str) or len(value) > 2000 or any(c.isspace() for c in value):
            continue
        try:
            parts = urlsplit(value)
            host = parts.hostname
        except ValueError:
            continue
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            continue
        if any(part in name.casefold() for part in PICTURE_NAMES) or parts.path.lower().endswith(PICTURE_ENDINGS):
            return value
    return None


class Shelf:
    """Keeps the catalogue of the model that serves, in a folder that goes with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._url = ""
        self._catalogue: Catalogue | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.progress = 0
        """Bytes of the archive that were read so far."""

    def ready(self, url: str) -> Catalogue | None:
        """The catalogue of the archive at `url`, if it is here."""
        return self._catalogue if self._url == url else None

    def take(self, connection: Connection, url: str) -> Catalogue:
        """The catalogue of the archive at `url` (s3://…), which is read on first use: that takes seconds to minutes.
        Raises `archive.Unusable`.
        """
        with self._lock:
            if (ready := self.ready(url)) is not None:
                return ready
            self.progress = 0
            parts = urlsplit(url)
            folder = tempfile.TemporaryDirectory(prefix="console-")
            try:
                body = connection.client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"]
                try:
                    archive.extract(body, Path(folder.name), self._count)
                finally:
                    body.close()
                found = Catalogue(Path(folder.name))
            except BaseException:
                folder.cleanup()
                raise
            self._catalogue, self._url, self._folder = found, url, folder
            return found

    def _count(self, number: int) -> None:
        self.progress = number
