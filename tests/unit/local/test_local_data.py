"""Data that can be dropped, and data that is refused before anything starts."""

import bz2
import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from contracts import columns
from local import data, worse
from local.project import Problem


def write(path: Path, text: str = "user_id,item_id,timestamp\n1,2,3\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"no such file or folder: .*/nowhere\.csv"):
        data.read_drop(tmp_path / "nowhere.csv")


def test_an_empty_file_has_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"interactions\.csv is empty"):
        data.read_drop(write(tmp_path / "interactions.csv", ""))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"data\.xlsx has a type that is not read: save it as CSV"):
        data.read_drop(write(tmp_path / "data.xlsx"))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "README.txt")
    write(tmp_path / "_hidden.csv")
    with pytest.raises(Problem, match=r"has no file \.csv, \.tsv, "):
        data.read_drop(tmp_path)


def test_a_folder_with_a_catalogue_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "movies.csv")
    with pytest.raises(Problem, match="has only a catalogue"):
        data.read_drop(tmp_path)


def test_the_catalogue_beside_ratings_goes_along(tmp_path: Path) -> None:
    ratings, movies = write(tmp_path / "ratings.csv"), write(tmp_path / "movies.csv")
    write(tmp_path / "tags.csv")
    assert data.read_drop(ratings) == data.Drop({"ratings.csv": ratings}, {"movies.csv": movies})


def test_a_folder_is_uploaded_without_files_of_other_types(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a" / "part-1.csv"), write(tmp_path / "a" / "part-2.csv")
    items = write(tmp_path / "items.csv")
    write(tmp_path / "tags.csv")
    write(tmp_path / "_temporary" / "part-3.csv")
    assert data.read_drop(tmp_path) == data.Drop({"a/part-1.csv": first, "a/part-2.csv": second}, {"items.csv": items})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("products.csv", b"Handle,Title,Variant SKU\nh,Tea,tea-1\n", "products.csv, which is beside the data, is no"),
        ("items.csv", "id,title\n1,Tea\n".encode("utf-16"), "is no catalogue: is UTF-16: convert it"),
    ],
)
def test_what_is_beside_ratings_and_no_catalogue_is_left_out(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    ratings = write(tmp_path / "ratings.csv", "user,item,time\n1,2,1700000000\n")
    (tmp_path / name).write_bytes(content)
    drop = data.read_drop(ratings)
    assert drop.catalogue == {} and any(words in note for note in drop.notes)
    for given, items in ((tmp_path, None), (ratings, tmp_path / name)):
        with pytest.raises(Problem, match=r"the catalogue (items|products)"):
            data.read_drop(given, items)


@pytest.mark.parametrize(
    ("times", "said", "words"),
    [
        ("soon", {}, "times such as 'soon', 'soon' are not understood; read are epoch seconds"),
        ("1.7E+09", {}, r"TIME=time TIME_FORMAT='dd.MM.yyyy HH:mm'"),
        ("31/1/2024", {"timestampFormat": "DD/MM/YYYY"}, "TIME_FORMAT 'DD/MM/YYYY' is no datetime pattern"),
    ],
)
def test_times_that_cannot_be_read_are_told_before_anything_starts(
    tmp_path: Path, times: str, said: dict[str, str], words: str
) -> None:
    ratings = write(tmp_path / "ratings.csv", f"user,item,time\n1,2,{times}\n1,3,{times}\n")
    with pytest.raises(Problem) as caught:
        data.read_drop(ratings, None, said)
    assert words in str(caught.value)


def test_the_pattern_of_times_in_parquet_goes_along(tmp_path: Path) -> None:
    table = pyarrow.table({"user": ["1", "2"], "item": ["3", "4"], "time": ["31.01.2024", "1.02.2024"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    drop = data.read_drop(tmp_path / "a.parquet")
    assert drop.parameters == {"timestampFormat": "d.M.yyyy"}
    assert "times as d.M.yyyy" in drop.notes[0]


def test_a_given_catalogue_takes_the_name_that_preparation_looks_for(tmp_path: Path) -> None:
    ratings, products = write(tmp_path / "ratings.csv"), write(tmp_path / "products.csv")
    write(tmp_path / "movies.csv")
    assert data.read_drop(ratings, products).catalogue == {"items.csv": products}
    with pytest.raises(Problem, match="no such catalogue file"):
        data.read_drop(ratings, tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["", "a/b", "..", "_SUCCESS", "x" * 64, "a b"])
def test_a_name_that_is_no_folder_of_raw_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="a drop's name"):
        data.drop_name(name)


def test_a_sensible_name_is_kept() -> None:
    assert data.drop_name("2026-11-23.week_47") == "2026-11-23.week_47"


class RecordingS3:
    """Notes the keys in the order in which they are written."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.bodies: dict[str, bytes] = {}

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.keys.append(key)

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.keys.append(Key)
        self.bodies[Key] = Body


def test_the_marker_is_written_last(tmp_path: Path) -> None:
    s3 = RecordingS3()
    drop = data.Drop({"a.csv": tmp_path / "a.csv", "b.csv": tmp_path / "b.csv"}, {"items.csv": tmp_path / "i.csv"})
    data.upload(s3, "bucket", "week-1", drop)
    assert s3.keys == ["raw/week-1/items.csv", "raw/week-1/a.csv", "raw/week-1/b.csv", "raw/week-1/_SUCCESS"]
    assert s3.bodies == {"raw/week-1/_SUCCESS": b""}


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_file_named_like_a_catalogue_is_uploaded_under_another_name(tmp_path: Path) -> None:
    products = write(tmp_path / "products.csv")
    assert data.read_drop(products).interactions == {"interactions.csv": products}


def test_a_name_with_a_colon_is_uploaded_without_it(tmp_path: Path) -> None:
    file = write(tmp_path / "a:b.csv")
    drop = data.read_drop(tmp_path)
    assert drop.interactions == {"a_b.csv": file}
    assert "a:b.csv becomes a_b.csv: Hadoop reads no name with a colon" in drop.notes


def test_what_a_file_is_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    write(tmp_path / "clicks.tsv", "User-ID\titem\tts\nann\ttea\t1700000000\n")
    write(tmp_path / "users.csv", "user_id,age\nann,7\n")
    write(tmp_path / "tree.csv", "category,parent\n1,2\n")
    drop = data.read_drop(tmp_path)
    assert list(drop.interactions) == ["clicks.tsv"]
    told, users, tree = drop.notes
    assert told == "clicks.tsv: separator tab, with a header; user User-ID, item item, timestamp ts"
    assert users == "users.csv is left out: a file of this name has no interactions"
    assert tree.startswith("tree.csv is left out: no column is known to hold the users")


def test_columns_that_are_not_sure_are_refused_with_the_command_that_works(tmp_path: Path) -> None:
    file = write(tmp_path / "orders.csv", "who,what,when\nann,tea,1700000000\n")
    with pytest.raises(Problem, match=f"make demo DATA={file} USER=who ITEM=what TIME=when$"):
        data.read_drop(file)
    said = {"userColumn": "who", "itemColumn": "what", "timestampColumn": "when"}
    drop = data.read_drop(file, None, said)
    assert drop.parameters == said
    s3 = RecordingS3()
    data.upload(s3, "bucket", "d", drop)
    assert s3.keys == ["raw/d/orders.csv", "raw/d/_drop.json", "raw/d/_SUCCESS"]
    assert json.loads(s3.bodies["raw/d/_drop.json"]) == {"schemaVersion": "1.0", **said}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for name in ("x.csv.gz", "x.csv.bz2", "x.csv.zst", "x.parquet"):
        file = write(tmp_path / name)
        with pytest.raises(Problem, match=rf"{file} cannot be read: "):
            data.read_drop(file)


ROWS = [(str(user), f"i{item}", str(1_700_000_000 + user * 100 + item)) for user in range(9) for item in range(20)]


def text(separator: str, header: bool = True) -> bytes:
    names = [("user_id", "item_id", "timestamp")] if header else []
    return "".join(separator.join(row) + "\n" for row in [*names, *ROWS]).encode()


def parquet() -> bytes:
    users, items, times = zip(*ROWS, strict=True)
    table = pyarrow.table({"ts": [int(time) for time in times], "item": items, "user": users})
    target = io.BytesIO()
    pyarrow.parquet.write_table(table, target)
    return target.getvalue()


def json_lines() -> bytes:
    return "".join(
        json.dumps({"user": user, "asin": item, "ts": int(time)}) + "\n" for user, item, time in ROWS
    ).encode()


@pytest.mark.parametrize(
    ("name", "content", "copy", "said"),
    [
        ("a.csv", text(","), "a-csv.csv", {}),
        ("a.tsv.gz", gzip.compress(text("\t")), "a-tsv-gz.csv", {}),
        ("a.csv.bz2", bz2.compress(text(";")), "a-csv-bz2.csv", {}),
        ("a.txt.zst", pyarrow.compress(text("|"), "zstd", asbytes=True), "a-txt-zst.csv", {}),
        ("a.dat", text("::", False), "a-dat.csv", {"userColumn": "1", "itemColumn": "2", "timestampColumn": "3"}),
        ("a.jsonl", json_lines(), "a-jsonl.csv", {}),
        ("a.parquet", parquet(), "a-parquet.parquet", {}),
    ],
)
def test_a_worse_copy_of_any_file_keeps_people_and_times_and_draws_items_by_lot(
    tmp_path: Path, name: str, content: bytes, copy: str, said: dict[str, str]
) -> None:
    (tmp_path / name).write_bytes(content)
    spoiled = worse.spoil(data.read_drop(tmp_path / name, None, said), tmp_path / "worse", seed=1)
    assert (list(spoiled.interactions), spoiled.parameters) == ([copy], {})
    again = data.read_drop(spoiled.interactions[copy])
    assert again.opened[copy][1] == columns.Columns("user_id", "item_id", "timestamp")
    if copy.endswith(".csv"):
        rows = rows_of(spoiled.interactions[copy])[1:]
    else:
        table = pyarrow.parquet.read_table(spoiled.interactions[copy])
        rows = [[row["user_id"], row["item_id"], str(row["timestamp"])] for row in table.to_pylist()]
    assert [(row[0], row[2]) for row in rows] == [(row[0], row[2]) for row in ROWS]
    assert {row[1] for row in rows} <= {row[1] for row in ROWS}
    assert sum(one[1] == other[1] for one, other in zip(rows, ROWS, strict=True)) / len(ROWS) < 0.15


def test_a_worse_copy_keeps_what_a_file_tells_beside_its_rows(tmp_path: Path) -> None:
    """A title, Windows' letters, the form of the times, and a column in a folder's name."""
    source = tmp_path / "data" / "event_type=buy" / "a.csv"
    source.parent.mkdir(parents=True)
    rows = "".join(f"u{user};Tea “{user % 3}”;{user % 28 + 1}.1.2023\n" for user in range(60))
    source.write_bytes(f"Orders;;\n\nuser;item;time\n{rows}".encode("cp1252"))
    spoiled = worse.spoil(data.read_drop(tmp_path / "data"), tmp_path / "worse", seed=1)
    assert spoiled.parameters == {"timestampFormat": "d.M.yyyy"}
    (copy,) = spoiled.interactions.values()
    written = rows_of(copy)
    assert written[0] == ["user_id", "item_id", "timestamp"]
    assert [(row[0], row[2]) for row in written[1:]] == [(f"u{user}", f"{user % 28 + 1}.1.2023") for user in range(60)]
    assert {row[1] for row in written[1:]} == {"Tea “0”", "Tea “1”", "Tea “2”"}
    again = data.read_drop(tmp_path / "worse", None, spoiled.parameters).opened["event_type=buy/a-csv.csv"][1]
    assert (again.event_type, again.time_format) == ("event_type", "d.M.yyyy")


def test_a_drop_is_summed_up_in_a_line(tmp_path: Path) -> None:
    paths = {f"part-{number}.csv": write(tmp_path / f"part-{number}.csv", "x" * 100) for number in range(5)}
    assert data.Drop(paths, {}).summary == "part-0.csv, part-1.csv, part-2.csv and 2 more files, 0.5 kB"
    one = write(tmp_path / "ratings.csv", "x" * 2_500_000)
    assert data.Drop({"ratings.csv": one}, {}).summary == "ratings.csv, 2.5 MB"
