from typing import Any

import pytest
from pyspark.sql import functions as F

import cleaning
import findings
import times
from cleaning import Meaning, Rules
from contracts import ids
from spark_session import size_shuffles

PAIRS = "user_id string, item_id string, timestamp bigint, weight float, events int, worth float, is_bought boolean"
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


def reasons(frame: Any, *rows: Any, **rules: Any) -> Any:
    return [row["reason"] for row in cleaning.parse(frame(RAW, *rows), Rules(**rules)).collect()]


def settled(frame: Any, *rows: Any, **rules: Any) -> Any:
    """The outcomes, and the rows as all rows together tell them."""
    parsed = cleaning.parse(frame(RAW, *rows), Rules(**rules))
    found = findings.outcomes(cleaning.tally(parsed))
    return found, cleaning.settle(parsed, found.meaning).collect()


@pytest.fixture
def parsed(frame: Any) -> Any:
    return cleaning.parse(frame(RAW, raw_row(user=" ann ", timestamp=" 1000 ", weight="2.5")), Rules()).first()


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
        raw_row(user="1.23557E+12"),
        raw_row(item="4,1E+10"),
        raw_row(user="x" * 256, item="日本"),
    ]
    assert reasons(frame, *rows) == [
        "user_id_missing",
        "user_id_missing",
        "user_id_too_long",
        "user_id_control_character",
        "item_id_control_character",
        "item_id_not_utf8",
        "user_id_rounded",
        "item_id_rounded",
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "NA",
        "n/a",
        "#N/A",
        "null",
        "NULL",
        "(null)",
        "nan",
        "NaN",
        "None",
        "none",
        "(not set)",
        "\\N",
        " ",
        None,
    ],
)
def test_what_tools_write_for_a_missing_value_is_no_id_and_no_time(frame: Any, text: Any) -> None:
    rows = [raw_row(user=text), raw_row(item=text), raw_row(timestamp=text)]
    assert reasons(frame, *rows) == ["user_id_missing", "item_id_missing", "timestamp_missing"]


def test_blanks_and_a_spreadsheets_formula_are_no_part_of_an_id(frame: Any) -> None:
    texts = [" 7", "7\t", "\u00a07 ", '="7"', ' ="007"', '=""']
    rows = cleaning.parse(frame(RAW, *[raw_row(user=text, item=text) for text in texts]), Rules()).collect()
    assert [row["user_id"] for row in rows] == ["7", "7", "7", "7", "007", ""]
    assert [row["item_id"] for row in rows] == [ids.of(text) for text in texts]
    assert [row["reason"] for row in rows] == [None] * 5 + ["user_id_missing"]


def test_blanks_around_times_and_weights_do_not_count(frame: Any) -> None:
    row = raw_row(timestamp="\u00a01700000000\t", weight="2.5\u00a0")
    parsed = cleaning.parse(frame(RAW, row), Rules()).collect()[0]
    assert (parsed["timestamp"], parsed["weight"], parsed["reason"]) == (1700000000, 2.5, None)
    dated = cleaning.parse(frame(RAW, raw_row(timestamp="2.10.2023\t")), Rules(timestamp_format="d.M.yyyy"))
    assert dated.collect()[0]["reason"] is None


def test_weights_may_have_a_decimal_comma(frame: Any) -> None:
    texts = ["4,5", "-1,25", "+3", "1,000", "1.000,5", "4,", ","]
    rows = cleaning.parse(frame(RAW, *[raw_row(weight=text) for text in texts]), Rules()).collect()
    assert [row["weight"] for row in rows] == [4.5, -1.25, 3.0, None, None, None, None]
    assert {row["reason"] for row in rows[3:]} == {"weight_unparsable"}


def test_examples_of_bad_rows_are_what_they_are_bad_for(frame: Any) -> None:
    rows = [raw_row(timestamp="soon"), raw_row(user="1.2E+9"), raw_row(line="Total rows: 738"), raw_row(weight="x")]
    _, found = settled(frame, *rows)
    parsed = cleaning.settle(cleaning.parse(frame(RAW, *rows), Rules()), Meaning())
    reasons = [row["reason"] for row in found]
    assert [cleaning.examples(parsed, reason) for reason in reasons] == [
        ["soon"],
        ["1.2E+9"],
        ["Total rows: 738"],
        ["x"],
    ]


def test_ids_keep_their_zeros_and_everything_else(frame: Any) -> None:
    texts = ["0004", "a/b", "Home, Garden", "50%", "a+b", "?#", "..", "\N{PARTY POPPER}", "nandos", "1e5", "17385.50"]
    found, rows = settled(frame, *[raw_row(user=text, item=text) for text in texts])
    assert [(row["user_id"], row["item_id"], row["reason"]) for row in rows] == [(text, text, None) for text in texts]
    assert found.meaning == Meaning()


def test_ids_of_a_column_of_fractions_are_whole_numbers(frame: Any) -> None:
    rows = [raw_row(user="17385.0", item="a"), raw_row(user="017385", item="7.0"), raw_row(user="9.0", item="7")]
    found, rows = settled(frame, *rows, raw_row(user="", item="1"))
    assert found.meaning == Meaning(whole_users=True)
    assert [row["user_id"] for row in rows] == ["17385", "017385", "9", ""]
    assert [row["item_id"] for row in rows] == ["a", "7.0", "7", "1"]
    assert dict(findings.of_rows(found, (), True))["fractions-of-users"].endswith("17385.0 is read as 17385")


@pytest.mark.fault("D14")
def test_implausible_times_are_bad_rows(frame: Any) -> None:
    texts = {
        None: "timestamp_missing",
        "": "timestamp_missing",
        "yesterday": "timestamp_unparsable",
        "12:30": "timestamp_unparsable",
        "2024-13-01": "timestamp_unparsable",
        "2024-01/02": "timestamp_unparsable",
        "1.64613E+12": "timestamp_unparsable",
        "31.12.2024": "timestamp_unparsable",
        "9" * 30: "timestamp_unparsable",
        "8" + "0" * 18: "timestamp_out_of_range",
        "-1": "timestamp_out_of_range",
        "1969-12-31T23:59:59Z": "timestamp_out_of_range",
        "2100-01-01": "timestamp_out_of_range",
        "4102444800000": None,
        "0": None,
        "4102444799": None,
    }
    assert reasons(frame, *[raw_row(timestamp=text) for text in texts]) == list(texts.values())


def test_a_time_after_the_drop_is_a_bad_row(frame: Any) -> None:
    rows = [raw_row(timestamp=text) for text in ("1700000000", "1700000001", "2096-01-01", "1700000001000")]
    late = "timestamp_after_the_drop"
    assert reasons(frame, *rows, last_second=1_700_000_000) == [None, late, late, late]


@pytest.mark.parametrize(
    ("text", "seconds", "unit"),
    [
        ("964982703", 964982703, times.SECONDS),
        ("1700000000.0", 1700000000, times.SECONDS),
        ("1700000000.987", 1700000000, times.SECONDS),
        ("1646128800 +0000", 1646128800, times.SECONDS),
        ("1646128800 +0200", 1646128800, times.SECONDS),
        ("1700000000999", 1700000000, times.MILLISECONDS),
        ("1700000000999.5", 1700000000, times.MILLISECONDS),
        ("1700000000999999", 1700000000, times.MICROSECONDS),
        ("1700000000999999999", 1700000000, times.NANOSECONDS),
        ("2024-01-02", 1704153600, times.TEXT),
        ("2024/1/2", 1704153600, times.TEXT),
        ("2024-01-02T03:04:05Z", 1704164645, times.TEXT),
        ("2024-01-02 03:04:05 UTC", 1704164645, times.TEXT),
        ("2024-01-02 03:04:05.999", 1704164645, times.TEXT),
        ("2024-01-02T03:04:05+02:00", 1704157445, times.TEXT),
        ("2024-01-02 03:04:05 +0200", 1704157445, times.TEXT),
    ],
)
def test_reads_epochs_and_iso_8601(frame: Any, text: Any, seconds: Any, unit: Any) -> None:
    row = cleaning.parse(frame(RAW, raw_row(timestamp=text)), Rules()).first()
    assert row is not None
    assert (row["timestamp"], row["unit"], row["reason"]) == (seconds, unit, None)


def test_digits_are_dates_if_all_of_them_can_be(frame: Any) -> None:
    texts = ["20230501", "202305011230", "20230501123015", "2023-05-01"]
    found, rows = settled(frame, *[raw_row(timestamp=text) for text in texts], last_second=1_700_000_000)
    assert [row["timestamp"] for row in rows] == [1682899200, 1682944200, 1682944215, 1682899200]
    assert dict(findings.of_rows(found, (), True))["compact-dates"] == (
        "3 of 4 times are read as dates, such as 20240131"
    )
    found, rows = settled(frame, raw_row(timestamp="20230501"), raw_row(timestamp="20230561"))
    assert [row["timestamp"] for row in rows] == [20230501, 20230561]
    assert set(dict(findings.of_rows(found, (), True))) == {"compact-dates", "early-times"}


def test_a_date_in_digits_after_the_drop_is_a_bad_row(frame: Any) -> None:
    texts = ["20230501", "20960101", "19690101"]
    found, rows = settled(frame, *[raw_row(timestamp=text) for text in texts], last_second=1_700_000_000)
    assert [row["reason"] for row in rows] == [None, "timestamp_after_the_drop", "timestamp_out_of_range"]
    assert (found.read, found.good, found.bad) == (
        3,
        1,
        {"timestamp_after_the_drop": 1, "timestamp_out_of_range": 1},
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [("17", 17), ("+5", 5), ("-3", -3), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None)]
    + [(text, None) for text in ("", "1.0", "1e3", "0x1F", "1 2", "P17", "2024-01-31", "１")],
)
def test_a_whole_number_is_digits_with_a_sign(frame: Any, text: str, number: int | None) -> None:
    assert frame("text string", (text,)).select(times.whole(F.col("text"))).head()[0] == number


def test_other_forms_of_times_need_a_pattern(frame: Any) -> None:
    rows = [raw_row(timestamp=text) for text in ("12/1/2010 8:26", "31/12/2010 8:26", "1291191960")]
    parsed = cleaning.parse(frame(RAW, *rows), Rules(timestamp_format="M/d/yyyy H:mm")).collect()
    assert [(row["timestamp"], row["reason"]) for row in parsed] == [
        (1291191960, None),
        (None, "timestamp_unparsable"),
        (None, "timestamp_unparsable"),
    ]


def test_without_times_every_row_has_the_time_0(frame: Any) -> None:
    row = cleaning.parse(frame(RAW, raw_row(timestamp=None)), Rules(has_times=False)).first()
    assert row is not None
    assert (row["timestamp"], row["reason"]) == (0, None)


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
    parsed = cleaning.parse(frame(RAW, raw_row(), raw_row(user=" ann ", timestamp="soon")), Rules())
    bad = cleaning.bad_rows(cleaning.settle(parsed, Meaning())).collect()
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


def test_of_many_bad_rows_a_share_is_kept(frame: Any) -> None:
    many = [raw_row(user="") for _ in range(2000)]
    parsed = cleaning.settle(cleaning.parse(frame(RAW, raw_row(item=""), *many), Rules()), Meaning())
    kept = [row["reason"] for row in cleaning.bad_rows(parsed, {"user_id_missing": 0.1}).collect()]
    assert kept.count("item_id_missing") == 1
    assert 100 < kept.count("user_id_missing") < 300


def test_rows_of_other_event_types_are_not_judged(frame: Any) -> None:
    kinds = ("buy", "view", None, "nan", " buy ")
    rows = [raw_row(user=kind or "none", event_type=kind) for kind in kinds]
    login = raw_row(item="", timestamp="", weight="", event_type="login")
    broken = raw_row(event_type="login", line="a,b")
    parsed = cleaning.parse(frame(RAW, *rows, login, broken), Rules(event_types=("buy", "cart")))
    found = findings.outcomes(cleaning.tally(parsed))
    good = cleaning.good_rows(cleaning.settle(parsed, found.meaning)).collect()
    assert sorted(row["user_id"] for row in good) == ["buy", "buy"]
    assert (found.read, found.good, found.other_events, found.bad) == (7, 2, 4, {"malformed_row": 1})
    assert found.most_frequent_types == {"(none)": 2, "buy": 2, "login": 1, "view": 1}
    assert dict(findings.of_rows(found, ("buy", "cart"), True)) == {
        "absent-event-types": "no row has the event type 'cart'; there are (none) 2, buy 2, login 1, view 1",
        "left-out-event-types": "4 of 7 rows are left out: (none) 2, login 1, view 1",
        "early-times": "2 of 2 interactions are of 1970, as numbers are that are no epoch seconds; if they have "
        "another form, name it with --timestamp-format (timestampFormat)",
    }


@pytest.mark.fault("D18")
def test_keeps_the_latest_of_each_pair_and_at_equal_time_the_heaviest(frame: Any) -> None:
    rows = frame(
        "user_id string, item_id string, timestamp bigint, weight float, worth float, is_bought boolean",
        ("ann", "tea", 1, 5.0, 5.0, True),
        ("ann", "tea", 3, 1.0, 1.0, False),
        ("ann", "tea", 3, 2.0, 1.0, False),
        ("ann", "tea", 3, 2.0, 0.0, False),
        ("ann", "tea", 4, 2.0, -1.5, True),
        ("ann", "cup", 2, 4.0, 1.0, False),
        ("bob", "tea", 1, 3.0, 5.0, True),
        ("bob", "tea", 2, 3.0, -5.0, False),
        ("bob", "pot", 1, 3.0, -5.0, False),
    )
    kept = {tuple(row) for row in cleaning.latest_per_pair(rows).collect()}
    assert kept == {
        ("ann", "tea", 3, 2.0, 3, 5.5, True, True),
        ("ann", "cup", 2, 4.0, 1, 1.0, False, True),
        ("bob", "tea", 1, 3.0, 1, 0.0, True, False),
        ("bob", "pot", None, None, 0, -5.0, False, False),
    }


@pytest.fixture
def pairs(frame: Any) -> Any:
    """ann: a b c, bob: a b, cid: c d, dan: d. With minimums of two, dan is removed, then d, then cid, then c."""
    chosen = {"ann": "abc", "bob": "ab", "cid": "cd", "dan": "d"}
    rows = [(user, item, time, 1.0, 1, 1.0, True) for user, items in chosen.items() for time, item in enumerate(items)]
    return cleaning.with_support(frame(PAIRS, *rows))


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
    rows = [(f"u{n:02d}", f"i{item:02d}", 1, 1.0, 1, 1.0, True) for n in range(25) for item in (n, n + 1)]
    core = [(user, item, 1, 1.0, 1, 1.0, True) for user in ("x", "y") for item in ("a", "b")]
    chain = frame(PAIRS, *rows, *core)
    kept = cleaning.supported(cleaning.with_support(chain), 2, 2).collect()
    assert {row["user_id"] for row in kept} == {"x", "y"}


def test_all_rows_may_be_below_the_minimum(pairs: Any) -> None:
    summary = cleaning.summary(cleaning.supported(pairs, 9, 1)).first()
    assert summary is not None
    assert (summary["rows"], summary["first"]) == (0, None)


def test_what_is_made_of_the_rows_with_support_is_read_from_the_cache(spark: Any, frame: Any) -> None:
    """Computed again for a join, positions of rows can be others."""
    size_shuffles(spark, input_bytes=1)
    rows = frame(PAIRS, *[(f"u{user}", f"i{item}", 1, 1.0, 1, 1.0, True) for user in range(3) for item in range(3)])
    kept = cleaning.supported(cleaning.with_support(rows), 2, 2)
    ids = kept.select("item_id").distinct().orderBy("item_id")
    numbered = ids.withColumn("position", F.monotonically_increasing_id()).persist()
    assert numbered.count() == 3
    plan = kept.join(numbered, "item_id")._jdf.queryExecution().executedPlan().toString()
    assert "InMemoryTableScan" in plan, plan
    numbered.unpersist()
