"""Warnings about a drop say what looks wrong, with figures."""

from pathlib import Path
from typing import Any

import pytest

import findings
import item_columns
import times
import withdrawal
from arguments import WARNINGS
from cleaning import Meaning
from findings import Outcomes
from worth import Worth

SUMMARY = {
    "rows": 1800,
    "events": 2000,
    "users": 100.0,
    "most": 50,
    "fastest": 3.0,
    "account": None,
    "times": 1500,
    "first": 1_700_000_000,
    "last": 1_700_100_000,
}


def of_rows(wanted: Any = (), has_times: bool = True, **found: Any) -> dict[str, str]:
    return dict(findings.of_rows(Outcomes(**({"read": 10, "good": 10} | found)), wanted, has_times))


def of_people(before: Any = None, has_times: bool = True, duplicates: int = 0, **summary: Any) -> dict[str, str]:
    facts = SUMMARY | summary
    numbers = findings.figures(Outcomes(read=2000, good=2000), facts, duplicates)
    return dict(findings.of_people(facts, numbers, before or {}, has_times))


def test_nothing_is_said_of_ordinary_data() -> None:
    assert of_rows(units={times.SECONDS: 6, times.TEXT: 4}, event_types={"buy": 10}) == {}
    assert of_people() == {}


@pytest.mark.parametrize(
    ("found", "name", "sentence"),
    [
        ({"units": {times.MILLISECONDS: 10}}, "units", "the times are milliseconds since 1970"),
        (
            {"units": {times.SECONDS: 4, times.MILLISECONDS: 6}},
            "mixed-units",
            "the times have several units, told apart by their size: seconds 4, milliseconds 6",
        ),
        (
            {"units": {times.COMPACT: 9, times.TEXT: 1}, "meaning": Meaning(has_dates=True)},
            "compact-dates",
            "9 of 10 times are read as dates, such as 20240131",
        ),
        (
            {"units": {times.COMPACT: 1, times.SECONDS: 9}},
            "compact-dates",
            "1 of 10 times could be dates such as 20240131, but others are no such dates, so they are read as numbers "
            "since 1970",
        ),
        ({"early": 3}, "early-times", "3 of 10 interactions are of 1970, "),
        ({"not_positive": 2}, "not-positive-weights", "2 of 10 interactions have a weight of 0 or below; "),
        (
            {"event_types": {"buy": 7, "Refund": 2, "order_cancelled": 1}},
            "opposite-event-types",
            "3 of 10 interactions seem to mean the opposite of liking (Refund 2, order_cancelled 1), and count ",
        ),
        ({"event_types": None}, "event-types", "the event type differs in thousands of rows"),
    ],
)
def test_says_what_looks_wrong_about_the_rows(found: Any, name: str, sentence: str) -> None:
    said = of_rows(**found)
    assert list(said) == [name] and said[name].startswith(sentence)


def test_what_has_a_weight_is_not_warned_of_and_what_has_none_is() -> None:
    types = {"buy": 6, "refund": 3, "look": 1}
    found = Outcomes(read=10, good=10, not_positive=4, event_types=types)
    said = dict(findings.of_rows(found, (), True, Worth({"buy": 5.0, "refund": -5.0}, multiplies=True)))
    assert said == {
        "unweighted-event-types": "1 of 10 interactions have an event type without a weight, and are worth 1: look 1; "
        "add it to --event-weights (eventWeights), with 0 if it counts nothing"
    }


def test_many_pairs_that_are_not_liked_are_told_against_the_parent_version() -> None:
    assert not list(findings.of_not_liked(20, 80, {})) and not list(findings.of_not_liked(0, 80, {}))
    assert dict(findings.of_not_liked(30, 70, {"notLikedShare": 0.15})) == {
        "not-liked": "30% of the pairs of user and item (30 of 100) are worth nothing or less, as of refunds and low "
        "ratings, and are left out; 15% in the parent version"
    }
    assert not list(findings.of_not_liked(30, 70, {"notLikedShare": 0.25}))


def test_event_types_that_are_left_out_do_not_mean_the_opposite() -> None:
    types = {"buy": 8, "refund": 2}
    said = of_rows(("buy", "purchase"), good=8, other_events=2, event_types=types)
    assert said == {
        "absent-event-types": "no row has the event type 'purchase'; there are buy 8, refund 2",
        "left-out-event-types": "2 of 10 rows are left out: refund 2",
    }


def test_without_times_it_says_what_is_lost() -> None:
    assert list(of_rows(has_times=False, early=10)) == ["no-times"]
    assert of_people(has_times=False, first=0, last=0, times=1, fastest=2000.0) == {}


@pytest.mark.parametrize(
    ("facts", "name", "sentence"),
    [
        (
            {"most": 600},
            "busy-user",
            "one user has 30% of the interactions (600 of 2,000), as a robot or a shop's own account has",
        ),
        (
            {"account": {"user_events": 300, "user_id": "Guest"}},
            "test-account",
            "the user 'Guest' has 15% of the interactions (300 of 2,000), but is no person by this id",
        ),
        ({"fastest": 1200.0}, "fast-user", "one user has 1,200 different items an hour (limit 1,000), as a robot has"),
        ({"times": 3}, "few-times", "all 2,000 interactions have one of 3 times"),
        (
            {"times": 1, "last": 1_700_000_000},
            "one-time",
            "all 2,000 interactions have the time 2023-11-14T22:13:20Z",
        ),
        ({"duplicates": 1500}, "duplicates", "75% of the interactions repeat a user and an item"),
    ],
)
def test_says_what_looks_wrong_about_people_and_times(facts: Any, name: str, sentence: str) -> None:
    assert of_people(**facts) == {name: sentence}


def test_an_account_without_much_share_is_left_alone() -> None:
    account = {"user_events": 100, "user_id": "0"}
    assert of_people(account=account) == {}
    assert list(of_people(account=account, users=1000.0)) == ["test-account"]


def test_figures_are_compared_with_those_of_the_parent_version() -> None:
    before = {"duplicateShare": 0.1, "largestUserShare": 0.02}
    assert of_people(before, duplicates=700, most=400) == {
        "busy-user": "one user has 20% of the interactions (400 of 2,000), as a robot or a shop's own account has; 2% "
        "in the parent version",
        "duplicates": "35% of the interactions repeat a user and an item; 10% in the parent version",
    }
    assert of_people(before | {"duplicateShare": 0.7}, duplicates=1500) == {}


def test_every_finding_has_a_name_that_the_command_line_knows() -> None:
    text = "".join(
        Path(str(module.__file__)).read_text(encoding="utf-8") for module in (findings, item_columns, withdrawal)
    )
    assert [name for name in WARNINGS if f'"{name}"' not in text] == ["fractions-of-users", "fractions-of-items"]
    said = of_rows(("x",), False, event_types={"refund": 10}, not_positive=1) | of_people(most=600, duplicates=1500)
    assert set(said) <= set(WARNINGS)


def test_the_most_frequent_event_types_are_listed_and_the_others_summed() -> None:
    found = Outcomes(event_types={f"type {n:02d}": 100 - n for n in range(60)} | {findings.NO_EVENT_TYPE: 7})
    listed = found.most_frequent_types
    assert list(listed)[:2] == ["type 00", "type 01"] and len(listed) == 51
    assert listed[findings.OTHER_EVENT_TYPES] == sum(range(41, 51)) + 7


def test_rows_without_a_user_are_guests_up_to_half_of_the_rows() -> None:
    guests = Outcomes(read=1000, bad={"user_id_missing": 250, "item_id_missing": 1}, good=749)
    assert findings.refusal(guests, 0.001) is None
    found = dict(findings.of_rows(guests, (), has_times=True))
    assert found["guests"] == "250 of 1,000 rows have no user, as of guests, and are left out"
    most = Outcomes(read=1000, bad={"user_id_missing": 501}, good=499)
    assert findings.refusal(most, 0.001) == "501 of 1,000 rows have no user (limit 50%)"
    assert findings.refusal(most, 0.6) is None
    bad = Outcomes(read=2000, bad={"user_id_missing": 250, "item_id_missing": 3}, good=1747)
    assert findings.refusal(bad, 0.001) == (
        "3 of 2,000 rows are bad (0.15%, limit 0.10% by maximumBadShare): item_id_missing 3, beside 250 without a "
        "user, which are not bad"
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"malformed_row": 2, "user_id_missing": 9}, "; rows such as 'Total: 7' have another number of columns than"),
        ({"timestamp_unparsable": 2}, "; times such as 'Total: 7' are not understood; accepted are epoch seconds"),
        ({"item_id_rounded": 2, "weight_missing": 1}, "; ids such as 'Total: 7' were rounded by a spreadsheet"),
        ({"user_id_control_character": 2}, "is the file in another encoding than UTF-8 or Windows-1252"),
        ({"weight_missing": 2}, "; to use no weights, say WEIGHT=none"),
        ({"item_id_missing": 2}, "item_id_missing 2"),
    ],
)
def test_a_refusal_shows_bad_rows_and_says_what_helps(bad: dict[str, int], words: str) -> None:
    found = Outcomes(read=100, bad=bad, good=98 - sum(bad.values()))
    said = findings.refusal(found, 0.001, lambda reason: ["Total: 7"] if reason in bad else ["another"])
    assert said is not None and words in said
    assert said.endswith("item_id_missing 2") == ("item_id_missing" in bad)
