import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts import splits
from ncf import dataset_files
from ncf.dataset import BrokenDataset, Split

VERSION = "v20260102t030405z-0a1b2c3d"
ROWS = [("u", "a"), ("v", "b"), ("u", "b"), ("v", "c"), ("w", "c"), ("u", "c"), ("v", "a")]


@pytest.fixture
def dataset(tmp_path: Path, write: Callable[..., Path]) -> Path:
    return write(tmp_path / "dataset", ROWS)


def edit(dataset: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    change(manifest)
    (dataset / "manifest.json").write_text(json.dumps(manifest))


def replace(dataset: Path, folder: str, change: Callable[[pa.Table], pa.Table]) -> None:
    path = dataset / folder / "part-00000.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def set_column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.names.index(name), name, values)


def test_reads_a_dataset_of_the_preparation(dataset: Path) -> None:
    loaded = dataset_files.load(dataset, VERSION)
    assert (loaded.user_ids, loaded.item_ids) == (["u", "v", "w"], ["a", "b", "c"])
    assert list(zip(loaded.train.user, loaded.train.item, strict=True)) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    assert list(zip(loaded.test.user, loaded.test.item, strict=True)) == [(0, 2), (1, 0)]
    assert loaded.popularity.tolist() == [1, 2, 2]
    assert loaded.everything().indptr.tolist() == [0, 3, 6, 7]


def test_the_history_is_in_the_order_of_time_whatever_the_order_of_the_rows(
    dataset: Path, table: Callable[..., pa.Table], rewrite_manifest: Callable[[Path], None]
) -> None:
    # A repeated pair, (0, 0), has the place of its last row.
    rows = [(2, 2, 9, 1.0), (0, 1, 7, 1.0), (0, 0, 5, 1.0), (1, 1, 3, 1.0), (1, 2, 1, 1.0), (0, 0, 8, 1.0)]
    for name, given in (("train", rows), ("test", [(0, 2, 9, 1.0)])):
        pq.write_table(table(given), dataset / name / "part-00000.parquet")
    counts = {"item_index": pa.array([0, 1, 2], pa.int32()), "interactions": pa.array([2, 2, 2], pa.int64())}
    pq.write_table(pa.table(counts), dataset / "popularity" / "part-00000.parquet")
    rewrite_manifest(dataset)
    loaded = dataset_files.load(dataset, VERSION)
    assert loaded.train.indptr.tolist() == [0, 2, 4, 5]
    assert loaded.history.item.tolist() == [1, 0, 2, 1, 2]
    assert loaded.history.item.dtype == np.int32 and not loaded.history.is_tied.any()
    assert loaded.history.tied_share == 0


def add_column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.append_column(name, values)


def with_pairs(dataset: Path, events: list[int], worth: list[float], is_bought: list[bool]) -> None:
    """Give train what manifest 1.2 tells of each pair; the rows are (0, 0), (0, 1), (1, 1), (1, 2), (2, 2)."""
    columns = (("events", events, pa.int32()), ("worth", worth, pa.float32()), ("is_bought", is_bought, pa.bool_()))
    for name, values, kind in columns:
        replace(dataset, "train", add_column(name, pa.array(values, kind)))


@pytest.fixture
def of_pairs(dataset: Path, rewrite_manifest: Callable[[Path], None]) -> Callable[..., Path]:
    def make(events: Any = (1, 2, 3, 4, 5), worth: Any = (0.5, 1, 2, 3, 4), version: str = "1.2") -> Path:
        with_pairs(dataset, list(events), list(worth), [True, False, True, False, False])
        rewrite_manifest(dataset)
        edit(dataset, lambda manifest: manifest.update(schemaVersion=version))
        return dataset

    return make


def test_events_worth_and_purchases_are_in_the_order_of_the_pairs(
    of_pairs: Callable[..., Path], rewrite_manifest: Callable[[Path], None]
) -> None:
    dataset = of_pairs()
    replace(dataset, "train", lambda table: table.take([4, 2, 0, 3, 1]))
    rewrite_manifest(dataset)
    edit(dataset, lambda manifest: manifest.update(schemaVersion="1.2"))
    loaded = dataset_files.load(dataset, VERSION)
    assert loaded.events.tolist() == [1, 2, 3, 4, 5] and loaded.events.dtype == np.int32
    assert loaded.worth.tolist() == [0.5, 1, 2, 3, 4] and loaded.worth.dtype == np.float32
    assert loaded.is_bought.tolist() == [True, False, True, False, False]


def test_a_dataset_without_them_has_one_event_worth_1_and_bought(dataset: Path) -> None:
    loaded = dataset_files.load(dataset, VERSION)
    assert (loaded.events.tolist(), loaded.worth.tolist(), loaded.is_bought.tolist()) == (
        [1] * 5,
        [1.0] * 5,
        [True] * 5,
    )
    assert [column.dtype.name for column in (loaded.events, loaded.worth, loaded.is_bought)] == [
        "int32", "float32", "bool",
    ]  # fmt: skip


def test_manifest_1_2_must_have_them(dataset: Path) -> None:
    edit(dataset, lambda manifest: manifest.update(schemaVersion="1.2"))
    with pytest.raises(BrokenDataset, match="column 'events' is missing"):
        dataset_files.load(dataset, VERSION)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"events": (1, 0, 1, 1, 1)}, "events of a pair must be above 0, not 0"),
        ({"worth": (1, 1, -2, 1, 1)}, "worth of a pair must be above 0, not -2.0"),
        ({"worth": (1, 1, float("nan"), 1, 1)}, "worth of a pair must be above 0, not nan"),
        ({"worth": (1, 1, float("inf"), 1, 1)}, "worth of a pair must be above 0, not inf"),
    ],
)
def test_a_pair_in_train_is_worth_more_than_0(of_pairs: Callable[..., Path], given: Any, words: str) -> None:
    with pytest.raises(BrokenDataset, match=words):
        dataset_files.load(of_pairs(**given), VERSION)


def test_validation_keeps_what_is_known_of_the_other_pairs(of_pairs: Callable[..., Path]) -> None:
    loaded = dataset_files.load(of_pairs(), VERSION)
    rest = loaded.validation()
    known = dict(zip(zip(loaded.train.user, loaded.train.item, strict=True), loaded.events, strict=True))
    assert [known[pair] for pair in zip(rest.train.user, rest.train.item, strict=True)] == rest.events.tolist()
    assert len(rest.worth) == len(rest.is_bought) == len(rest.train) < len(loaded.train)


@pytest.mark.fault("D27")
def test_of_a_user_s_items_at_one_time_neither_the_id_nor_the_file_decides_the_order(
    tmp_path: Path, write: Callable[..., Path], rewrite_manifest: Callable[[Path], None]
) -> None:
    items = [f"i{number:02d}" for number in range(12)]
    dataset = write(tmp_path / "tied", [(f"u{number:02d}", item) for item in items for number in range(40)])
    replace(dataset, "train", set_column("timestamp", pa.array([5] * 40 * 11, pa.int64())))
    rewrite_manifest(dataset)
    loaded = dataset_files.load(dataset, VERSION)
    last = loaded.history.item.reshape(40, 11)[:, -1]
    assert np.unique(last).size > 6, "the last of each user would be the same item"
    assert loaded.history.is_tied.reshape(40, 11).tolist() == [[False] + [True] * 10] * 40
    assert loaded.history.tied_share == 1
    assert (np.sort(loaded.history.item.reshape(40, 11)) == np.arange(11)).all()


def test_validation_takes_the_held_out_items_from_the_history(dataset: Path) -> None:
    loaded = dataset_files.load(dataset, VERSION)
    held_out = loaded.validation()
    assert held_out.history.item.size == len(held_out.train) == len(loaded.train) - len(held_out.test)
    np.testing.assert_array_equal(
        np.sort(held_out.train.user * 3 + held_out.history.item), held_out.train.user * 3 + held_out.train.item
    )


def test_reads_several_parts_and_ignores_files_that_the_manifest_does_not_name(
    dataset: Path, rewrite_manifest: Callable[[Path], None]
) -> None:
    whole = dataset_files.load(dataset, VERSION)
    path = dataset / "train" / "part-00000.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.slice(0, 2), path)
    pq.write_table(rows.slice(2), dataset / "train" / "part-00001.parquet")
    rewrite_manifest(dataset)
    pq.write_table(rows, dataset / "train" / "part-of-another-attempt.parquet")
    np.testing.assert_array_equal(dataset_files.load(dataset, VERSION).train.item, whole.train.item)


def test_repeated_interactions_count_for_popularity_but_are_one_pair_in_train(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    loaded = dataset_files.load(write(tmp_path / "repeated", [("u", "a"), *ROWS]), VERSION)
    assert len(loaded.train) == 5
    assert loaded.popularity.tolist() == [2, 2, 2]


def test_a_changed_manifest_has_another_fingerprint(dataset: Path) -> None:
    before = dataset_files.load(dataset, VERSION).fingerprint
    edit(dataset, lambda manifest: manifest["parameters"].update(minimumUserInteractions=3))
    assert dataset_files.load(dataset, VERSION).fingerprint != before


@pytest.mark.parametrize("folder", ["train", "test", "users", "items", "popularity"])
def test_a_missing_file_is_named(folder: str, dataset: Path) -> None:
    (dataset / folder / "part-00000.parquet").unlink()
    with pytest.raises(BrokenDataset, match=rf"dataset file {folder}/part-00000\.parquet: is missing"):
        dataset_files.load(dataset, VERSION)


@pytest.mark.fault("D03")
def test_another_hash_is_named(dataset: Path) -> None:
    path = dataset / "train" / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenDataset, match=r"train/part-00000\.parquet: has sha256 \w{64}, the manifest says \w{64}"):
        dataset_files.load(dataset, VERSION)


def test_another_size_is_named(dataset: Path) -> None:
    with (dataset / "test" / "part-00000.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BrokenDataset, match=r"test/part-00000\.parquet: has \d+ bytes, the manifest says \d+"):
        dataset_files.load(dataset, VERSION)


def test_another_number_of_rows_is_named(dataset: Path) -> None:
    def claim(manifest: dict[str, Any]) -> None:
        [file.update(rows=99) for file in manifest["files"] if file["path"].startswith("users/")]
        manifest["counts"]["users"] = 99

    edit(dataset, claim)
    with pytest.raises(BrokenDataset, match=r"users/part-00000\.parquet: has 3 rows, the manifest says 99"):
        dataset_files.load(dataset, VERSION)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 6}, r"the files of train/ have 5 rows, counts\.train says 6"),
        ({"read": 8}, r"counts\.read is 8, but quarantined \+ .* \+ interactions is 7"),
        ({"read": 7.0}, r"counts\.read must be an integer .* not 7\.0"),
    ],
)
@pytest.mark.fault("D03")
def test_counts_that_contradict_are_refused_by_name(changes: dict[str, Any], message: str, dataset: Path) -> None:
    """tests/unit/contracts/test_counts.py has the rule."""
    edit(dataset, lambda manifest: manifest["counts"].update(changes))
    with pytest.raises(BrokenDataset, match=rf"dataset file manifest\.json: .*{message}"):
        dataset_files.load(dataset, VERSION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda manifest: manifest.update(eventTypes={"buy": "7"}),
            r"eventTypes must hold numbers of rows above 0, not",
        ),
        (lambda manifest: manifest.update(schemaVersion="2.0"), r"schemaVersion is '2\.0', known is 1\.x"),
        (lambda manifest: manifest.pop("files"), r"files must be a list, not None"),
        (lambda manifest: manifest["files"][0].pop("sha256"), r"files: sha256 must be a str, not None"),
        (lambda manifest: manifest["files"][0].update(path="../x"), r"path '\.\./x' is not"),
        (lambda manifest: manifest["files"][0].update(path="/etc/passwd"), r"path '/etc/passwd' is not"),
        (lambda manifest: manifest["files"][0].update(path="train/../x"), r"path 'train/\.\./x' is not"),
        (lambda manifest: manifest["files"][0].update(path="other/x"), r"path 'other/x' is not"),
        (
            lambda manifest: manifest.update(datasetVersion="v20200102t030405z-0a1b2c3d"),
            r"is of dataset version 'v20200102t030405z-0a1b2c3d', this run is for 'v20260102t030405z-0a1b2c3d'",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], object], message: str, dataset: Path
) -> None:
    edit(dataset, change)
    with pytest.raises(BrokenDataset, match=rf"dataset file manifest\.json: .*{message}"):
        dataset_files.load(dataset, VERSION)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_a_manifest_that_cannot_be_read_is_named(content: bytes | None, dataset: Path) -> None:
    if content is None:
        (dataset / "manifest.json").unlink()
    else:
        (dataset / "manifest.json").write_bytes(content)
    with pytest.raises(BrokenDataset, match=r"dataset file manifest\.json"):
        dataset_files.load(dataset, VERSION)


@pytest.mark.parametrize(
    ("folder", "change", "message"),
    [
        ("train", lambda t: t.drop_columns(["item_index"]), "column 'item_index' is missing; the file has user_index,"),
        ("train", set_column("item_index", pa.array([0, 1, 1, 2, 2], pa.int64())), "column 'item_index' is int64, not"),
        ("train", set_column("weight", pa.array([1, 1, None, 1, 1], pa.float32())), "column 'weight' has 1 nulls"),
        ("train", set_column("user_index", pa.array([0, 0, 1, 1, 3], pa.int32())), "user_index 3 has no id"),
        ("train", set_column("item_index", pa.array([0, 1, 1, 2, -1], pa.int32())), "item_index -1 has no id"),
        (
            "test",
            set_column("item_index", pa.array([3, 0], pa.int32())),
            "item_index 3 has no id: the ids go from 0 to 2",
        ),
        ("test", set_column("item_index", pa.array([1, 0], pa.int32())), "has 1 interactions that are also in train"),
        (
            "test",
            set_column("user_index", pa.array([1, 1], pa.int32())),
            "more than one interaction of a user|also in",
        ),
        ("users", set_column("user_index", pa.array([0, 1, 3], pa.int32())), "not every number from 0 to 2 once"),
        ("users", set_column("user_id", pa.array(["u", "v", "v"])), "has a user_id twice"),
        ("items", set_column("item_id", pa.array(["a", None, "c"])), "column 'item_id' has 1 nulls"),
        (
            "popularity",
            set_column("interactions", pa.array([3, 1, 1], pa.int64())),
            "says 3 interactions of item_index 1, train/ has 2|says 1 interactions of item_index 2|item_index 1",
        ),
    ],
)
def test_a_file_with_invalid_content_is_named(
    folder: str,
    change: Callable[[pa.Table], pa.Table],
    message: str,
    dataset: Path,
    rewrite_manifest: Callable[[Path], None],
) -> None:
    replace(dataset, folder, change)
    rewrite_manifest(dataset)
    with pytest.raises(BrokenDataset, match=message) as broken:
        dataset_files.load(dataset, VERSION)
    assert broken.value.file.startswith(f"{folder}/")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "users/: has no row"),
        ([("u", "a")], "train/: has 1 distinct interactions: there is nothing to learn from"),
        ([("u", "a"), ("v", "a")], "items/: has 1 item: there is nothing to choose between"),
        ([("u", "a"), ("v", "b")], "test/: has no interaction: no user has an item to test on"),
    ],
)
@pytest.mark.fault("D01")
def test_too_little_data_is_refused(
    rows: list[tuple[str, str]], message: str, tmp_path: Path, write: Callable[..., Path]
) -> None:
    with pytest.raises(BrokenDataset, match=message):
        dataset_files.load(write(tmp_path / "little", rows), VERSION)


@pytest.mark.fault("D24")
def test_a_file_that_is_not_parquet_is_named(dataset: Path) -> None:
    path = dataset / "items" / "part-00000.parquet"
    path.write_bytes(b"no parquet")
    described = {"size": 10, "sha256": hashlib.sha256(b"no parquet").hexdigest()}
    edit(dataset, lambda manifest: [f.update(described) for f in manifest["files"] if f["path"].startswith("items/")])
    with pytest.raises(BrokenDataset, match=r"items/part-00000\.parquet: cannot be read as Parquet"):
        dataset_files.load(dataset, VERSION)


# Ties, and the order of train and test


def test_at_equal_time_the_draw_decides_the_last_of_train_whatever_the_index_or_the_order_of_the_file(
    tmp_path: Path, write: Callable[..., Path], rewrite_manifest: Callable[[Path], None]
) -> None:
    people = [f"u{number:03d}" for number in range(300)]
    path = write(tmp_path / "tied", [(user, item) for user in people for item in "abzt"])
    replace(path, "train", set_column("timestamp", pa.array([5] * 900, pa.int64())))
    rewrite_manifest(path)
    loaded = dataset_files.load(path)
    assert [loaded.item_ids[item] for item in loaded.latest] == [
        max("abz", key=lambda item: splits.draw(splits.SEED, user, item)) for user in people
    ]
    replace(path, "train", lambda table: table.take(pa.array(range(900))[::-1]))
    rewrite_manifest(path)
    np.testing.assert_array_equal(dataset_files.load(path).latest, loaded.latest)
    assert np.array_equal(loaded.validation().test.item, loaded.latest[loaded.validation().test.user])


def test_the_latest_of_train_goes_before_any_draw(dataset: Path, rewrite_manifest: Callable[[Path], None]) -> None:
    replace(dataset, "train", set_column("timestamp", pa.array([9, 8, 3, 4, 5], pa.int64())))
    rewrite_manifest(dataset)
    assert dataset_files.load(dataset).latest.tolist() == [0, 2, 2]


@pytest.mark.fault("D22")
def test_a_test_older_than_its_training_is_refused(dataset: Path, rewrite_manifest: Callable[[Path], None]) -> None:
    replace(dataset, "test", set_column("timestamp", pa.array([1, 1], pa.int64())))
    rewrite_manifest(dataset)
    with pytest.raises(BrokenDataset, match=r"test/: has 2 interactions that are older than the same user's newest"):
        dataset_files.load(dataset)


def test_a_test_at_the_time_of_its_training_is_accepted(
    dataset: Path, rewrite_manifest: Callable[[Path], None]
) -> None:
    for folder, rows in (("train", 5), ("test", 2)):
        replace(dataset, folder, set_column("timestamp", pa.array([7] * rows, pa.int64())))
    rewrite_manifest(dataset)
    assert len(dataset_files.load(dataset).test) == 2


def test_an_older_manifest_is_leave_last_out(dataset: Path) -> None:
    loaded = dataset_files.load(dataset)
    assert (loaded.split, len(loaded.repeats)) == (Split(splits.LEAVE_LAST_OUT, None, splits.SEED), 0)
    assert loaded.repeats.indptr.tolist() == [0, 0, 0, 0]


def test_a_later_manifest_may_have_more(of_pairs: Callable[..., Path]) -> None:
    dataset = of_pairs(version="1.7")
    edit(dataset, lambda manifest: manifest.update(unheard=1))
    assert dataset_files.load(dataset).events.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("global-time", "split must be an object, not 'global-time'"),
        ({"protocol": "random"}, "split.protocol is 'random', known are leave-last-out and global-time"),
        ({"protocol": ["global-time"]}, r"split.protocol is \['global-time'\], known are"),
        ({"protocol": "global-time", "moment": None}, "split.moment must be epoch seconds, not None"),
        ({"protocol": "leave-last-out", "moment": 5}, "split.moment must be null for leave-last-out, not 5"),
        ({"seed": "x"}, "split.seed must be an integer, not 'x'"),
    ],
)
def test_a_split_that_cannot_be_read_is_named(split: Any, message: str, dataset: Path) -> None:
    edit(dataset, lambda manifest: manifest.update(split=split))
    with pytest.raises(BrokenDataset, match=f"manifest.json: {message}"):
        dataset_files.load(dataset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "it is not JSON"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"counts": 1, "counts": 2}', "it has the key 'counts' twice"),
        (b'{"counts": {"train": 1%s}}' % (b"0" * 400), r"it: counts\.train must be a number within the range"),
        (b'{"counts": {"train": NaN}}', "NaN is not a JSON value"),
    ],
)
def test_a_manifest_is_read_strictly(content: bytes, message: str, dataset: Path) -> None:
    (dataset / "manifest.json").write_bytes(content)
    with pytest.raises(BrokenDataset, match=rf"dataset file manifest\.json: cannot be used: .*{message}"):
        dataset_files.load(dataset, VERSION)


def test_recent_popularity_counts_the_last_days_of_train(
    dataset: Path, rewrite_manifest: Callable[[Path], None]
) -> None:
    day = 86_400
    stamps = [100 * day, 93 * day, 93 * day - 1, 70 * day, 70 * day - 1]
    replace(dataset, "train", set_column("timestamp", pa.array(stamps, pa.int64())))
    replace(dataset, "test", set_column("timestamp", pa.array([101 * day, 101 * day], pa.int64())))
    rewrite_manifest(dataset)
    loaded = dataset_files.load(dataset)
    assert {days: int(counts.sum()) for days, counts in loaded.recent.items()} == {7: 2, 30: 4}
    assert all(counts.size == loaded.items and (counts <= loaded.popularity).all() for counts in loaded.recent.values())
    assert loaded.validation().recent == {}
