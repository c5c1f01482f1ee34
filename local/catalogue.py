"""Reads a prepared dataset version from S3: titles, and users' earlier likes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
from botocore.exceptions import ClientError

from local.project import Problem


@dataclass(frozen=True)
class Item:
    """One item of the catalogue; an item without a title shows its id."""

    item_id: str
    title: str | None
    category: str | None

    @property
    def label(self) -> str:
        return self.title or self.item_id


class Dataset:
    """`datasets/<version>/` in the data bucket. Tables are read on first use. Raises Problem if a table is missing."""

    def __init__(self, s3: Any, bucket: str, version: str) -> None:
        self.s3, self.bucket, self.version = s3, bucket, version

    def _table(self, folder: str, columns: list[str]) -> pyarrow.Table:
        prefix = f"datasets/{self.version}/{folder}/"
        try:
            listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
            keys = [entry["Key"] for entry in listed if entry["Key"].endswith(".parquet")]
            files = [self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys]
        except ClientError as error:
            raise Problem(f"s3://{self.bucket}/{prefix} cannot be read: {error}") from error
        if not files:
            raise Problem(f"s3://{self.bucket}/{prefix} holds no Parquet file")
        # In this thread only: if the interpreter ends while Arrow's threads are still running, it aborts.
        opened = (pyarrow.parquet.ParquetFile(io.BytesIO(file), pre_buffer=False) for file in files)
        return pyarrow.concat_tables(file.read(columns=columns, use_threads=False) for file in opened)

    @cached_property
    def _items_by_index(self) -> dict[int, Item]:
        rows = self._table("items", ["item_index", "item_id", "title", "category"]).to_pylist()
        return {row["item_index"]: Item(row["item_id"], row["title"], row["category"]) for row in rows}

    @cached_property
    def items(self) -> Mapping[str, Item]:
        """The catalogue by item id."""
        return {item.item_id: item for item in self._items_by_index.values()}

    @cached_property
    def _user_indices(self) -> dict[str, int]:
        table = self._table("users", ["user_id", "user_index"])
        return dict(zip(table["user_id"].to_pylist(), table["user_index"].to_pylist(), strict=True))

    @cached_property
    def _history(self) -> pyarrow.Table:
        columns = ["user_index", "item_index", "timestamp", "weight"]
        return pyarrow.concat_tables([self._table("train", columns), self._table("test", columns)])

    def item(self, item_id: str) -> Item:
        """The item with that id; an unknown item has only its id."""
        return self.items.get(item_id, Item(item_id, None, None))

    def liked_by(self, user_id: str, count: int = 5) -> list[Item]:
        """A user's most liked items, by weight and then by time, the latest first; empty for an unknown user."""
        index = self._user_indices.get(user_id)
        if index is None:
            return []
        own = self._history.filter(pyarrow.compute.equal(self._history["user_index"], index))
        ordered = own.sort_by([("weight", "descending"), ("timestamp", "descending"), ("item_index", "ascending")])
        indices = dict.fromkeys(ordered["item_index"].to_pylist())
        return [self._items_by_index[item] for item in list(indices)[:count] if item in self._items_by_index]

    def examples(self, count: int = 3) -> list[str]:
        """A few users with a medium amount of history; always the same for the same dataset."""
        counted = self._history.group_by("user_index", use_threads=False).aggregate([("item_index", "count")])
        rows = sorted(zip(counted["item_index_count"].to_pylist(), counted["user_index"].to_pylist(), strict=True))
        middle = rows[len(rows) // 4 : len(rows) - len(rows) // 4] or rows
        step = max(1, len(middle) // (count + 1))
        chosen = [user for _, user in middle[step::step]][:count] or [user for _, user in rows[:count]]
        names = {index: user_id for user_id, index in self._user_indices.items()}
        return [names[index] for index in chosen if index in names]
