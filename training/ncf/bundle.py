"""The model bundle: everything a server needs, in a few files without pickle, each checked when it is read.

A bundle is written whole and read back before it counts as written. Reading it checks names, sizes, hashes, types,
shapes, finiteness and cardinalities; whatever is wrong is a `BrokenBundle` that names the member, never a model with
some other weights. The names are those of `docs/contracts.md`; the schema of `bundle.json` is `bundle.schema.json`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from ncf.interface import Model, kind_named

SCHEMA_VERSION = "1.0"
MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
USERS = "user_ids.json"
ITEMS = "item_ids.json"
SEEN = "seen.safetensors"
POPULARITY = "popularity.safetensors"
GOLDEN = "golden.json"
MEMBERS = (WEIGHTS, USERS, ITEMS, SEEN, POPULARITY, GOLDEN)
"""The members that `bundle.json` lists."""
CATEGORIES = "item_categories.json"
"""One more, where the dataset tells categories."""
NAMES = (*MEMBERS, CATEGORIES, MANIFEST)
"""Every file that may be there, the one last without which the rest is no model."""

MAXIMUM_MANIFEST_BYTES = 1 << 20
MAXIMUM_ARCHIVE_BYTES = 32 << 30
"""Most bytes that an archive may unpack to."""
MAXIMUM_RATIO = 200
"""Most bytes that one byte of the archive may unpack to, once it has unpacked to more than `RATIO_FLOOR`."""
RATIO_FLOOR = 64 << 20


class BrokenBundle(Exception):
    """A bundle, or an archive of one, is not what was written: `member` is the file at fault, `reason` says why."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"{member}: {reason}")
        self.member = member
        self.reason = reason


@dataclass
class Bundle:
    """A bundle in memory. An index is a position in the ids and a row of the embeddings, both the same."""

    model: Model
    """On the device it was loaded to."""
    user_index: dict[str, int]
    item_ids: list[str]
    item_index: dict[str, int]
    seen_indptr: NDArray[np.int64]  # [users + 1]
    seen_indices: NDArray[np.int32]  # [interactions], sorted within each user
    popularity: NDArray[np.int64]  # [items], interactions in train
    golden: list[dict[str, Any]]
    """`{"request": …, "response": …}`, see `ncf.ranking.rank`."""
    manifest: dict[str, Any]
    """`bundle.json`."""
    category_names: list[str] = field(default_factory=list)
    item_categories: list[list[int]] = field(default_factory=list)
    """Positions in `category_names` for each item; nothing at all where no item has a category."""

    @property
    def run_id(self) -> str:
        return self.manifest["runId"]

    @property
    def dataset_version(self) -> str:
        return self.manifest["datasetVersion"]

    @property
    def code_version(self) -> str:
        return self.manifest["codeVersion"]

    def seen(self, user: int) -> NDArray[np.int32]:
        """Sorted indices of the items that the user with index `user` has interacted with, in train or test."""
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]


def write(
    directory: Path,
    *,
    model: Model,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    seen_indptr: NDArray[np.int64],
    seen_indices: NDArray[np.int32],
    popularity: NDArray[np.int64],
    run_id: str,
    dataset_version: str,
    code_version: str,
    golden: Callable[[Bundle], list[dict[str, Any]]],
    categories: Sequence[Sequence[str]] = (),
) -> Bundle:
    """Write a bundle into `directory` (made if need be) and return it as read back.

    `golden` is called with the bundle as read back, without golden requests, and returns them: they record what the
    written weights answer, not what the weights in memory did. `categories` are those of each item, or none.
    Raises BrokenBundle if the parts do not fit together.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state().items()}
    _put(directory / WEIGHTS, safetensors.torch.save(weights))
    _put(directory / USERS, encode_json(list(user_ids)))
    _put(directory / ITEMS, encode_json(list(item_ids)))
    seen: dict[str, NDArray[Any]] = {
        "indptr": np.ascontiguousarray(seen_indptr),
        "indices": np.ascontiguousarray(seen_indices),
    }
    _put(directory / SEEN, safetensors.numpy.save(seen))
    _put(directory / POPULARITY, safetensors.numpy.save({"interactions": np.ascontiguousarray(popularity)}))
    members: tuple[str, ...] = MEMBERS
    if categories:
        members += (CATEGORIES,)
        names = sorted({name for item in categories for name in item})
        place = {name: position for position, name in enumerate(names)}
        _put(
            directory / CATEGORIES,
            encode_json({"names": names, "items": [sorted(place[name] for name in item) for item in categories]}),
        )
    manifest: dict[str, Any] = {
        "schemaVersion": SCHEMA_VERSION,
        "runId": run_id,
        "datasetVersion": dataset_version,
        "codeVersion": code_version,
        "torchVersion": torch.__version__,
        "architecture": model.describe(),
        "cardinalities": {"users": len(user_ids), "items": len(item_ids)},
    }
    _put(directory / GOLDEN, encode_json(golden(_read(directory, manifest, golden=[], device="cpu"))))
    manifest["members"] = {name: _measure(directory / name) for name in members}
    manifest["digest"] = _digest(manifest)
    _put(directory / MANIFEST, encode_json(manifest))
    return load(directory)


def load(directory: Path | str, device: torch.device | str = "cpu") -> Bundle:
    """Read and check the bundle in `directory`; the model goes to `device`.

    Raises BrokenBundle, naming the member and the reason, if anything is missing, too much, changed or inconsistent.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise BrokenBundle(MANIFEST, f"there is no directory {directory}")
    manifest = _read_manifest(directory)
    for path in sorted(directory.iterdir()):
        if path.name not in (*manifest["members"], MANIFEST):
            raise BrokenBundle(path.name, "is no member of a bundle")
    for name in manifest["members"]:
        path, expected = directory / name, manifest["members"][name]
        if path.is_symlink() or not path.is_file():
            raise BrokenBundle(name, "is missing")
        if (size := path.stat().st_size) != expected["size"]:
            raise BrokenBundle(name, f"has {size} bytes, bundle.json says {expected['size']}")
        if (measured := _measure(path)) != expected:
            raise BrokenBundle(name, f"has sha256 {measured['sha256']}, bundle.json says {expected['sha256']}")
    return _read(directory, manifest, golden=_read_golden(directory), device=device)


def extract(archive: Path | str, directory: Path | str) -> None:
    """Unpack `model.tar.gz` into `directory`, which must be empty or not exist yet.

    Only the names of a bundle's members are let in, each once, as plain files (a leading `./`, which some tar programs
    write, is dropped). Raises BrokenBundle for anything else, for an archive that unpacks to too much, and for a
    damaged one; nothing is left in `directory` then.
    """
    archive, directory = Path(archive), Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    written: list[Path] = []
    try:
        with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed) as unpacked:
            metered = _Metered(unpacked, archive.stat().st_size)
            # Read as a stream: nothing is looked at before it has been counted.
            with tarfile.open(fileobj=metered, mode="r|") as members:
                for member in members:
                    name = member.name.removeprefix("./")
                    if member.isdir() and name in (".", ""):
                        continue
                    if name not in NAMES:
                        raise BrokenBundle(member.name, "is no member of a bundle")
                    if not member.isreg():
                        raise BrokenBundle(name, "is not a plain file")
                    if directory / name in written:
                        raise BrokenBundle(name, "is there twice")
                    source = members.extractfile(member)
                    assert source is not None, "a plain file has content"
                    written.append(directory / name)
                    with (directory / name).open("xb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, (tarfile.TarError, EOFError, OSError, ValueError)) and not isinstance(error, BrokenBundle):
            raise BrokenBundle(archive.name, f"cannot be unpacked: {error}") from error
        raise
    for name in (*MEMBERS, MANIFEST):
        if directory / name not in written:
            for path in written:
                path.unlink()
            raise BrokenBundle(name, "is missing")


class _Metered(io.RawIOBase):
    """A reader that stops with BrokenBundle when more comes out of an archive than a bundle can hold."""

    def __init__(self, source: gzip.GzipFile, packed_bytes: int) -> None:
        self._source = source
        self._count = 0
        self._limit = min(MAXIMUM_ARCHIVE_BYTES, max(RATIO_FLOOR, MAXIMUM_RATIO * packed_bytes))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._limit + 1 - self._count if size < 0 else size)
        self._count += len(data)
        if self._count > self._limit:
            raise BrokenBundle("model.tar.gz", f"unpacks to more than {self._limit} bytes")
        return data


def encode_json(value: Any) -> bytes:
    """`value` as the one sequence of bytes that this project writes for it; refuses NaN and infinities (ValueError)."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=None, sort_keys=True) + "\n").encode()


def _digest(manifest: dict[str, Any]) -> str:
    """sha256 over bundle.json without its `digest`: members are hashed there, and this guards the hashes."""
    return hashlib.sha256(encode_json({name: manifest[name] for name in manifest if name != "digest"})).hexdigest()


def _measure(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def _put(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_json(directory: Path, member: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"holds {constant}, which is no JSON number")

    path = directory / member
    if path.is_symlink() or not path.is_file():
        raise BrokenBundle(member, "is missing")
    try:
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BrokenBundle(member, f"cannot be read as JSON: {error}") from error


def _read_manifest(directory: Path) -> dict[str, Any]:
    """bundle.json, with every field of the right type."""
    path = directory / MANIFEST
    if path.is_file() and path.stat().st_size > MAXIMUM_MANIFEST_BYTES:
        raise BrokenBundle(MANIFEST, f"has {path.stat().st_size} bytes, more than {MAXIMUM_MANIFEST_BYTES}")
    manifest = _read_json(directory, MANIFEST)
    if not isinstance(manifest, dict):
        raise BrokenBundle(MANIFEST, "must be an object")
    if manifest.get("schemaVersion") != SCHEMA_VERSION:
        raise BrokenBundle(MANIFEST, f"schemaVersion is {manifest.get('schemaVersion')!r}, known is {SCHEMA_VERSION!r}")
    strings = ("schemaVersion", "runId", "datasetVersion", "codeVersion", "torchVersion", "digest")
    expected = {*strings, "architecture", "cardinalities", "members"}
    if set(manifest) != expected:
        differing = ", ".join(sorted(set(manifest) ^ expected))
        raise BrokenBundle(MANIFEST, f"must have exactly {', '.join(sorted(expected))}; differing: {differing}")
    for name in strings:
        if not isinstance(manifest[name], str) or not manifest[name]:
            raise BrokenBundle(MANIFEST, f"{name} must be a string that is not empty, not {manifest[name]!r}")
    cardinalities = manifest["cardinalities"]
    if not isinstance(cardinalities, dict) or set(cardinalities) != {"users", "items"}:
        raise BrokenBundle(MANIFEST, "cardinalities must have exactly users and items")
    for name, value in cardinalities.items():
        if not _is_count(value) or value == 0:
            raise BrokenBundle(MANIFEST, f"cardinalities.{name} must be an integer of at least 1, not {value!r}")
    members = manifest["members"]
    if not isinstance(members, dict) or set(members) - {CATEGORIES} != set(MEMBERS):
        raise BrokenBundle(MANIFEST, f"members must be exactly {', '.join(MEMBERS)}, and {CATEGORIES} or not")
    for name, member in members.items():
        if not (
            isinstance(member, dict)
            and set(member) == {"sha256", "size"}
            and isinstance(member["sha256"], str)
            and _is_count(member["size"])
        ):
            raise BrokenBundle(MANIFEST, f"members.{name} must have exactly sha256 and size")
    # Byte for byte: it is written in one way only, so anything else was not written here.
    if manifest["digest"] != _digest(manifest) or path.read_bytes() != encode_json(manifest):
        raise BrokenBundle(MANIFEST, "digest is not that of its content: it was changed after it was written")
    return manifest


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_golden(directory: Path) -> list[dict[str, Any]]:
    golden = _read_json(directory, GOLDEN)
    if not isinstance(golden, list) or not golden:
        raise BrokenBundle(GOLDEN, "must be a list of at least one request")
    for position, case in enumerate(golden):
        if not (
            isinstance(case, dict)
            and set(case) == {"request", "response"}
            and isinstance(case["request"], dict)
            and isinstance(case["response"], dict)
        ):
            raise BrokenBundle(GOLDEN, f"entry {position} must have exactly request and response, both objects")
    return golden


def _read_ids(directory: Path, member: str, count: int) -> list[str]:
    ids = _read_json(directory, member)
    if not isinstance(ids, list) or not all(isinstance(value, str) for value in ids):
        raise BrokenBundle(member, "must be a list of strings")
    if len(ids) != count:
        raise BrokenBundle(member, f"has {len(ids)} ids, bundle.json says {count}")
    if len(set(ids)) != len(ids):
        raise BrokenBundle(member, "has an id twice")
    return ids


def _read_categories(directory: Path, count: int) -> tuple[list[str], list[list[int]]]:
    if not (directory / CATEGORIES).exists():
        return [], []
    told = _read_json(directory, CATEGORIES)
    if not isinstance(told, dict) or set(told) != {"names", "items"}:
        raise BrokenBundle(CATEGORIES, "must have exactly names and items")
    names, items = told["names"], told["items"]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BrokenBundle(CATEGORIES, "names must be a list of strings that are not empty")
    if len(set(names)) != len(names):
        raise BrokenBundle(CATEGORIES, "has a name twice")
    if not isinstance(items, list) or len(items) != count:
        raise BrokenBundle(CATEGORIES, f"items must be a list of {count}, one for each item")
    for item, own in enumerate(items):
        if not isinstance(own, list) or not all(_is_count(place) and place < len(names) for place in own):
            raise BrokenBundle(CATEGORIES, f"items[{item}] must be positions in names, not {str(own)[:80]}")
    return names, items


def _read_arrays(directory: Path, member: str, types: dict[str, type]) -> dict[str, NDArray[Any]]:
    try:
        arrays = safetensors.numpy.load_file(directory / member)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenBundle(member, f"cannot be read as safetensors: {error}") from error
    if set(arrays) != set(types):
        raise BrokenBundle(member, f"must hold exactly {', '.join(types)}, not {', '.join(sorted(arrays))}")
    for name, wanted in types.items():
        if arrays[name].dtype != wanted or arrays[name].ndim != 1:
            shape = list(arrays[name].shape)
            raise BrokenBundle(
                member, f"{name} must be one axis of {wanted.__name__}, not {arrays[name].dtype} of shape {shape}"
            )
    return arrays


def _read_model(directory: Path, description: Any, users: int, items: int, device: torch.device | str) -> Model:
    """The model that bundle.json describes, from weights.safetensors."""
    try:
        if not isinstance(description, dict):
            raise ValueError("must be an object")
        kind = kind_named(description.get("model"))
        layout = kind.layout(description, users, items)
    except ValueError as error:
        raise BrokenBundle(MANIFEST, f"architecture: {error}") from error
    try:
        weights = safetensors.torch.load_file(directory / WEIGHTS)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenBundle(WEIGHTS, f"cannot be read as safetensors: {error}") from error
    if set(weights) != set(layout):
        differing = ", ".join(sorted(set(weights) ^ set(layout)))
        raise BrokenBundle(WEIGHTS, f"does not hold the tensors of {kind.name}; differing: {differing}")
    for name, tensor in weights.items():
        expected = layout[name]
        fits = tensor.ndim == len(expected.shape) and all(
            wanted in (-1, length) for wanted, length in zip(expected.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise BrokenBundle(WEIGHTS, f"{name} has shape {list(tensor.shape)}, not {list(expected.shape)}")
        if tensor.dtype != expected.dtype:
            raise BrokenBundle(WEIGHTS, f"{name} has type {tensor.dtype}, not {expected.dtype}")
        if not torch.isfinite(tensor).all():
            raise BrokenBundle(WEIGHTS, f"{name} holds NaN or infinity")
    try:
        return kind.restore(description, weights, users, items).to(torch.device(device))
    except ValueError as error:
        raise BrokenBundle(WEIGHTS, str(error)) from error


def _read(
    directory: Path, manifest: dict[str, Any], golden: list[dict[str, Any]], device: torch.device | str
) -> Bundle:
    """The members behind `manifest` as a Bundle, each checked against it and against the others."""
    users, items = manifest["cardinalities"]["users"], manifest["cardinalities"]["items"]
    user_ids = _read_ids(directory, USERS, users)
    item_ids = _read_ids(directory, ITEMS, items)
    seen = _read_arrays(directory, SEEN, {"indptr": np.int64, "indices": np.int32})
    indptr, indices = seen["indptr"], seen["indices"]
    if indptr.size != users + 1 or indptr[0] != 0 or indptr[-1] != indices.size or np.any(np.diff(indptr) < 0):
        raise BrokenBundle(SEEN, f"indptr does not divide {indices.size} items among {users} users")
    if indices.size and (indices.min() < 0 or indices.max() >= items):
        raise BrokenBundle(SEEN, f"indices must be from 0 to {items - 1}, not {indices.min()} to {indices.max()}")
    owner = np.repeat(np.arange(users), np.diff(indptr))
    if np.any((np.diff(owner) == 0) & (np.diff(indices.astype(np.int64)) <= 0)):
        raise BrokenBundle(SEEN, "the items of a user are not sorted and distinct")
    popularity = _read_arrays(directory, POPULARITY, {"interactions": np.int64})["interactions"]
    if popularity.size != items or np.any(popularity < 0):
        raise BrokenBundle(POPULARITY, f"must hold a number of at least 0 for each of {items} items")
    category_names, item_categories = _read_categories(directory, items)
    return Bundle(
        model=_read_model(directory, manifest["architecture"], users, items, device),
        user_index={user_id: index for index, user_id in enumerate(user_ids)},
        item_ids=item_ids,
        item_index={item_id: index for index, item_id in enumerate(item_ids)},
        seen_indptr=indptr,
        seen_indices=indices,
        popularity=popularity,
        golden=golden,
        manifest=manifest,
        category_names=category_names,
        item_categories=item_categories,
    )
