from typing import Any

import pytest

import cleaning

RAW = "user_id string, item_id string, timestamp string, event_type string, weight string, line string, file string"


def raw_row(
    user: Any = "ann",
    item: Any = "tea",
    timestamp: Any = "1000",
    event_type: Any = None,
    weight: Any = "1",
    line: Any = None,
) -> Any:
    return (user, item, timestamp, event_type, weight, line, "drop/events.csv")


def reasons(frame: Any, *rows: Any, event_types: Any = ()) -> Any:
    return [row["reason"] for row in cleaning.parse(frame(RAW, *rows), event_types).collect()]


@pytest.fixture
def parsed(frame: Any) -> Any:
    return cleaning.parse(frame(RAW, raw_row(user=" ann ", timestamp=" 1000 ", weight="2.5"))).first()


def test_converts_a_good_row_and_removes_outer_spaces(parsed: Any) -> None:
    assert (parsed["user_id"], parsed["timestamp"], parsed["weight"]) == ("ann", 1000, 2.5)
    assert (parsed["reason"], parsed["raw"], parsed["file"]) == (None, None, None)


@pytest.mark.fault("D14")
def test_invalid_ids_are_bad_rows(frame: Any) -> None:
    rows = [
        raw_row(user=None),
        raw_row(user="  "),
        raw_row(user="x" * 257),
        raw_row(user="a\tb"),
        raw_row(item="a\x00b"),
        raw_row(item="caf\ufffd"),
        raw_row(user="x" * 256, item="日本"),
    ]
    assert reasons(frame, *rows) == [
        "user_id_missing",
        "user_id_missing",
        "user_id_too_long",
        "user_id_control_character",
        "item_id_control_character",
        "item_id_not_utf8",
        None,
    ]


@pytest.mark.fault("D14")
def test_implausible_times_are_bad_rows(frame: Any) -> None:
    times = {
        None: "timestamp_missing",
        "": "timestamp_missing",
        "yesterday": "timestamp_unparsable",
        "12:30": "timestamp_unparsable",
        "2024-13-01": "timestamp_unparsable",
        "12.5": "timestamp_unparsable",
        "9" * 30: "timestamp_unparsable",
        "1700000000000": "timestamp_milliseconds",
        "1700000000000000": "timestamp_out_of_range",
        "-1": "timestamp_out_of_range",
        "1969-12-31T23:59:59Z": "timestamp_out_of_range",
        "2100-01-01": "timestamp_out_of_range",
        "0": None,
        "4102444799": None,
    }
    assert reasons(frame, *[raw_row(timestamp=time) for time in times]) == list(times.values())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("964982703", 964982703),
        ("2024-01-02", 1704153600),
        ("2024-01-02T03:04:05Z", 1704164645),
        ("2024-01-02 03:04:05.999", 1704164645),
        ("2024-01-02T03:04:05+02:00", 1704157445),
    ],
)
def test_reads_epoch_seconds_and_iso_8601(frame: Any, text: Any, seconds: Any) -> None:
    row = cleaning.parse(frame(RAW, raw_row(timestamp=text))).first()
    assert row is not None
    assert (row["timestamp"], row["reason"]) == (seconds, None)


@pytest.mark.fault("D14")
def test_weights_that_are_not_finite_numbers_are_bad_rows(frame: Any) -> None:
    weights = {
        "": "weight_missing",
        "many": "weight_unparsable",
        "1f": "weight_unparsable",
        "NaN": "weight_not_finite",
        "-Infinity": "weight_not_finite",
        "1e400": "weight_not_finite",
        "1e39": "weight_not_finite",
        "-2.5": None,
    }
    assert reasons(frame, *[raw_row(weight=weight) for weight in weights]) == list(weights.values())


def test_a_row_with_a_different_number_of_fields_is_malformed_before_any_other_reason(frame: Any) -> None:
    assert reasons(frame, raw_row(user=None, line="ann,tea")) == ["malformed_row"]


def test_keeps_the_original_texts_of_a_bad_row(frame: Any) -> None:
    bad = cleaning.bad_rows(cleaning.parse(frame(RAW, raw_row(), raw_row(user=" ann ", timestamp="soon")))).collect()
    assert [row.asDict() for row in bad] == [
        {
            "reason": "timestamp_unparsable",
            "file": "drop/events.csv",
            "user_id": " ann ",
            "item_id": "tea",
            "timestamp": "soon",
            "event_type": None,
            "weight": "1",
            "line": None,
        }
    ]


def test_only_wanted_event_types_count(frame: Any) -> None:
    rows = [raw_row(user=kind or "none", event_type=kind) for kind in ("buy", "view", None, " buy ")]
    parsed = cleaning.parse(frame(RAW, *rows), ("buy",))
    assert sorted(row["user_id"] for row in cleaning.good_rows(parsed).collect()) == ["buy", "buy"]
    outcomes = {(row["reason"], row["is_wanted"]): row["rows"] for row in cleaning.tally(parsed).collect()}
    assert outcomes == {(None, True): 2, (None, False): 2}


@pytest.mark.fault("D18")
def test_keeps_the_latest_of_each_pair_and_at_equal_time_the_heaviest(frame: Any) -> None:
    rows = frame(
        "user_id string, item_id string, timestamp bigint, weight float",
        ("ann", "tea", 1, 5.0),
        ("ann", "tea", 3, 1.0),
        ("ann", "tea", 3, 2.0),
        ("ann", "tea", 3, 2.0),
        ("ann", "cup", 2, 4.0),
        ("bob", "tea", 1, 3.0),
    )
    kept = {tuple(row) for row in cleaning.latest_per_pair(rows).collect()}
    assert kept == {("ann", "tea", 3, 2.0), ("ann", "cup", 2, 4.0), ("bob", "tea", 1, 3.0)}


@pytest.fixture
def pairs(frame: Any) -> Any:
    """ann: a b c, bob: a b, cid: c d, dan: d. With minimums of two, dan is removed, then d, then cid, then c."""
    chosen = {"ann": "abc", "bob": "ab", "cid": "cd", "dan": "d"}
    rows = [(user, item, time, 1.0) for user, items in chosen.items() for time, item in enumerate(items)]
    return cleaning.with_support(frame("user_id string, item_id string, timestamp bigint, weight float", *rows))


def test_removes_users_with_too_few_items(pairs: Any) -> None:
    kept = cleaning.supported(pairs, 2, 1).collect()
    assert {row["user_id"]: row["user_interactions"] for row in kept} == {"ann": 3, "bob": 2, "cid": 2}


def test_removal_is_repeated_until_nothing_changes(pairs: Any) -> None:
    kept = cleaning.supported(pairs, 2, 2).collect()
    assert {(row["user_id"], row["item_id"]) for row in kept} == {
        ("ann", "a"),
        ("ann", "b"),
        ("bob", "a"),
        ("bob", "b"),
    }
    assert {row["user_interactions"] for row in kept} == {2}


def test_many_rounds_of_removal_need_no_more_memory_than_one(frame: Any) -> None:
    """A chain of users who share one item each with the next: every round removes one from its end."""
    rows = [(f"u{n:02d}", f"i{item:02d}", 1, 1.0) for n in range(25) for item in (n, n + 1)]
    core = [(user, item, 1, 1.0) for user in ("x", "y") for item in ("a", "b")]
    chain = frame("user_id string, item_id string, timestamp bigint, weight float", *rows, *core)
    kept = cleaning.supported(cleaning.with_support(chain), 2, 2).collect()
    assert {row["user_id"] for row in kept} == {"x", "y"}


def test_all_rows_may_be_below_the_minimum(pairs: Any) -> None:
    summary = cleaning.summary(cleaning.supported(pairs, 9, 1)).first()
    assert summary is not None
    assert (summary["rows"], summary["first"]) == (0, None)
