"""The table in docs/how-to/file-shapes.md, and what `make demo` says to each of its files before it starts anything."""

from pathlib import Path

import pytest

from local import data
from local.project import Problem
from tests.shapes import SHAPES, table


def test_the_table_and_the_tests_have_the_same_lines() -> None:
    assert list(table()) == list(SHAPES)
    for shape, what in table().items():
        assert what.startswith("refused" if SHAPES[shape].is_refused else "read"), shape


@pytest.mark.parametrize("shape", SHAPES)
def test_the_demo_takes_or_refuses_a_file_as_the_preparation_does(shape: str, tmp_path: Path) -> None:
    expected = SHAPES[shape]
    expected.write(tmp_path)
    if expected.is_refused and not expected.on_laptop:
        with pytest.raises(Problem) as caught:
            data.read_drop(tmp_path, None, expected.said)
        assert expected.words.replace("PATH", str(tmp_path)) in str(caught.value)
    else:
        assert data.read_drop(tmp_path, None, expected.said).interactions
