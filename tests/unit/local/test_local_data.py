"""Data that can be dropped, and data that is refused before anything starts."""

import csv
import gzip
from pathlib import Path

import pytest

from local import data
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
    with pytest.raises(
        Problem, match=r"data\.xlsx has an unsupported type; supported: \.csv, \.csv\.gz, \.parquet, \.dat"
    ):
        data.read_drop(write(tmp_path / "data.xlsx"))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "README.txt")
    write(tmp_path / "_hidden.csv")
    with pytest.raises(Problem, match=r"has no \.csv, \.csv\.gz, \.parquet, \.dat file"):
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

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.keys.append(key)

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        assert Body == b""
        self.keys.append(Key)


def test_the_marker_is_written_last(tmp_path: Path) -> None:
    s3 = RecordingS3()
    drop = data.Drop({"a.csv": tmp_path / "a.csv", "b.csv": tmp_path / "b.csv"}, {"items.csv": tmp_path / "i.csv"})
    data.upload(s3, "bucket", "week-1", drop)
    assert s3.keys == ["raw/week-1/items.csv", "raw/week-1/a.csv", "raw/week-1/b.csv", "raw/week-1/_SUCCESS"]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_spoiling_keeps_people_and_times_and_draws_items_by_lot(tmp_path: Path) -> None:
    body = "".join(f"{user},{item},4.0,{user * 100 + item}\n" for user in range(30) for item in range(user % 5, 20))
    source = write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n" + body)
    data.spoil(source, tmp_path / "spoiled.csv", seed=1)
    before, after = rows_of(source), rows_of(tmp_path / "spoiled.csv")
    assert [row[:1] + row[2:] for row in after] == [row[:1] + row[2:] for row in before]
    assert {row[1] for row in after[1:]} <= {row[1] for row in before[1:]}
    same = sum(one[1] == other[1] for one, other in zip(before[1:], after[1:], strict=True))
    assert same / len(after) < 0.15


def test_spoiling_reads_and_writes_gzip_and_movielens(tmp_path: Path) -> None:
    packed = tmp_path / "interactions.csv.gz"
    with gzip.open(packed, "wt") as file:
        file.write("user_id,item_id,timestamp\n1,a,1\n1,b,2\n")
    data.spoil(packed, tmp_path / "out.csv.gz", seed=3)
    with gzip.open(tmp_path / "out.csv.gz", "rt") as file:
        assert file.readline() == "user_id,item_id,timestamp\n"
    dat = write(tmp_path / "ratings.dat", "1::10::5::100\n2::20::4::200\n")
    data.spoil(dat, tmp_path / "out.dat", seed=3)
    lines = [line.split("::") for line in (tmp_path / "out.dat").read_text().splitlines()]
    assert [(line[0], line[2], line[3]) for line in lines] == [("1", "5", "100"), ("2", "4", "200")]


def test_spoiling_says_which_column_it_missed(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"none of the columns item_id.*it has who, what"):
        data.spoil(write(tmp_path / "x.csv", "who,what\n1,2\n"), tmp_path / "y.csv", seed=1)


def test_a_drop_is_summed_up_in_a_line(tmp_path: Path) -> None:
    paths = {f"part-{number}.csv": write(tmp_path / f"part-{number}.csv", "x" * 100) for number in range(5)}
    assert data.Drop(paths, {}).summary == "part-0.csv, part-1.csv, part-2.csv and 2 more files, 0.5 kB"
    one = write(tmp_path / "ratings.csv", "x" * 2_500_000)
    assert data.Drop({"ratings.csv": one}, {}).summary == "ratings.csv, 2.5 MB"
