"""Short forms of run ids name exactly one run, or the message lists those that they may name."""

import pytest

from control.run_names import NoSuchRun, resolve

OLD, SAME_DAY, NEW = "v20261128t100000z-1a2b3c4d-r1", "v20261129t100000z-1a2bffff-r1", "v20261129t120000z-99887766-r1"
AGAIN = "v20261129t120000z-99887766-r2"
RUNS = [AGAIN, NEW, SAME_DAY, OLD]


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        ("latest", AGAIN),
        (OLD, OLD),
        ("v20261128", OLD),
        ("20261128t10", OLD),
        ("1a2b3", OLD),
        ("1A2BFFFF", SAME_DAY),
        ("99887766-r1", NEW),
        (" 1a2b3c4d ", OLD),
        ("v20200101t000000z-00000000-r1", "v20200101t000000z-00000000-r1"),
    ],
)
def test_one_run_is_named(text: str, run_id: str) -> None:
    assert resolve(text, RUNS) == run_id


@pytest.mark.parametrize(
    ("text", "count", "candidates"),
    [("1a2b", 2, [SAME_DAY, OLD]), ("v20261129", 3, [AGAIN, NEW, SAME_DAY]), ("99887766", 2, [AGAIN, NEW])],
)
def test_a_form_of_several_runs_lists_them(text: str, count: int, candidates: list[str]) -> None:
    with pytest.raises(NoSuchRun) as caught:
        resolve(text, RUNS)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{text} names {count} runs; write more of the one that you mean:"
    assert [line.strip() for line in lines] == candidates


@pytest.mark.parametrize("text", ["", "r1", "766", "v2025"])
def test_a_form_of_no_run_lists_the_last_ones(text: str) -> None:
    with pytest.raises(NoSuchRun) as caught:
        resolve(text, RUNS)
    first, *lines = str(caught.value).splitlines()
    assert first == f"No run is named {text!r}. The last ones are:"
    assert [line.strip() for line in lines] == RUNS


def test_a_list_of_candidates_has_an_end() -> None:
    many = [f"v20261129t1000{number:02}z-{number:08x}-r1" for number in range(25)]
    with pytest.raises(NoSuchRun) as caught:
        resolve("v2026", many)
    assert len(str(caught.value).splitlines()) == 12
    assert str(caught.value).endswith("and 15 more")


def test_without_runs_the_message_says_how_to_get_one() -> None:
    with pytest.raises(NoSuchRun, match="There is no run yet"):
        resolve("latest", [])
