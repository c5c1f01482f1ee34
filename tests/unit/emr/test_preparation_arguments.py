import re
from typing import Any

import pytest

import arguments
from contracts.columns import Given
from worth import Worth

DEFAULTS = {
    "--source": "s3://data/raw/d1/",
    "--output": "s3://data/datasets/",
    "--quarantine": "s3://data/quarantine",
    "--dataset-version": "v20261123t151300z-1a2b3c4d",
    "--code-version": "c0de",
}


def argv(**changed: Any) -> Any:
    options = DEFAULTS | {"--" + name.replace("_", "-"): value for name, value in changed.items()}
    return [word for option in options.items() for word in option]


def test_folders_are_those_of_the_version_without_a_double_slash() -> None:
    parsed = arguments.parse(argv(parent_version="v20261122t000000z-00000000"))
    assert parsed.dataset == "s3://data/datasets/v20261123t151300z-1a2b3c4d"
    assert parsed.parent == "s3://data/datasets/v20261122t000000z-00000000"
    assert parsed.quarantine_folder == "s3://data/quarantine/v20261123t151300z-1a2b3c4d"
    assert (parsed.columns, parsed.event_types, parsed.maximum_bad_share) == (Given(), (), 0.001)


def test_the_worth_of_events_is_read_from_text_or_json() -> None:
    options = {"least_value": "3", "values": "multiply", "half_life_days": "30.5", "bought_types": "buy"}
    expected = Worth({"buy": 5.0, "a=b": -1.5}, 3.0, True, 30.5, ("buy",))
    for weights in ("buy=5, a=b=-1.5", '{"buy": 5, "a=b": -1.5}'):
        parsed = arguments.parse(argv(event_weights=weights, **options))
        assert (parsed.worth, parsed.columns) == (expected, Given(needs_event_type=True, needs_weight=True))
    assert arguments.parse(argv()).worth == Worth()


def test_event_types_are_sorted_and_make_their_column_required() -> None:
    parsed = arguments.parse(argv(event_types="view, buy,view"))
    assert (parsed.event_types, parsed.columns) == (("buy", "view"), Given(needs_event_type=True))


@pytest.mark.parametrize(
    "pattern",
    ["M/d/yyyy H:mm", "dd.MM.yyyy", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "d MMM yyyy, h:mm a", "dd/MM/yy 'o''clock'"],
)
def test_takes_a_pattern_for_times(pattern: str) -> None:
    assert arguments.parse(argv(timestamp_format=pattern)).columns.time_format == pattern


def test_interactions_may_have_no_times() -> None:
    parsed = arguments.parse(argv(timestamp_column="none", refuse_warnings="one-time,busy-user"))
    assert not parsed.has_times
    assert parsed.refused_warnings == ("busy-user", "one-time")
    assert arguments.parse(argv()).has_times


def test_a_time_may_be_a_day_later_than_the_version() -> None:
    assert arguments.parse(argv()).last_second == 1795533180


def test_global_time_tests_a_twentieth_unless_a_share_or_days_are_given() -> None:
    def given(**changed: Any) -> Any:
        parsed = arguments.parse(argv(**changed))
        return parsed.split, parsed.test_share, parsed.test_days

    assert given(split="auto") == ("auto", 0.05, None)
    assert given(split="auto", test_days="28") == ("auto", None, 28)
    assert given() == ("auto", 0.05, None)
    assert given(test_days="28") == ("auto", None, 28)
    assert given(split="leave-last-out") == ("leave-last-out", None, None)
    assert given(split="global-time") == ("global-time", 0.05, None)
    assert given(split="global-time", test_share="0.25") == ("global-time", 0.25, None)
    assert given(split="global-time", test_days="28") == ("global-time", None, 28)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset_version": "latest"}, "--dataset-version: 'latest' is not a dataset version"),
        ({"dataset_version": "v20261332t000000z-00000000"}, "--dataset-version: .* tells no time"),
        (
            {"timestamp_format": "dd.MM.YYYY"},
            "--timestamp-format: 'dd.MM.YYYY' is no datetime pattern .*: it has 'YYYY'",
        ),
        ({"timestamp_format": "%Y-%m-%d"}, "--timestamp-format: .*: it has 'Y'"),
        ({"timestamp_format": "HH:mm"}, "--timestamp-format: .*: it has no year, yyyy"),
        ({"timestamp_format": "yyyy-MM-dd'T"}, "--timestamp-format: .*: it has 'T'"),
        ({"refuse_warnings": "bots"}, "--refuse-warnings: 'bots' is no warning; they are no-times, "),
        ({"timestamp_column": "none", "split": "global-time"}, "--split: global-time needs times"),
        ({"parent_version": "v20261123t151300z-1a2b3c4d"}, "--parent-version: .* is the version to be written"),
        ({"maximum_bad_share": "1.5"}, "--maximum-bad-share: must be a number from 0 to 1, not '1.5'"),
        ({"maximum_bad_share": "nan"}, "--maximum-bad-share"),
        (
            {"minimum_user_interactions": "0"},
            "--minimum-user-interactions: must be an integer from 1 to 1000000, not '0'",
        ),
        ({"dataset_version": "v٢٠٢٦1123t151300z-1a2b3c4d"}, "--dataset-version: .* is not a dataset version"),
        ({"minimum_item_interactions": "٣"}, "--minimum-item-interactions: must be an integer from 1 to 1000000"),
        ({"minimum_item_interactions": "1_0"}, "--minimum-item-interactions: must be an integer from 1 to 1000000"),
        ({"maximum_bad_share": "٠.٥"}, "--maximum-bad-share: must be a number from 0 to 1"),
        ({"maximum_bad_share": "0.0_1"}, "--maximum-bad-share: must be a number from 0 to 1"),
        ({"format": "xml"}, "--format"),
        ({"split": "random"}, "--split"),
        ({"split": "leave-last-out", "test_share": "0.1"}, "--test-share: needs --split global-time"),
        ({"split": "leave-last-out", "test_days": "7"}, "--test-days: needs --split global-time"),
        ({"split": "global-time", "test_share": "1"}, "--test-share: must be above 0 and below 1, not '1'"),
        ({"split": "global-time", "test_share": "0"}, "--test-share: must be above 0 and below 1, not '0'"),
        ({"split": "global-time", "test_days": "0"}, "--test-days: must be an integer from 1 to 1000000, not '0'"),
        (
            {"split": "global-time", "test_share": "0.1", "test_days": "7"},
            "--test-share: not together with --test-days",
        ),
        ({"event_types": " , "}, "--event-types"),
        ({"event_weights": "buy=inf"}, "--event-weights: the weight of 'buy' must be 0 or a finite number .*, not inf"),
        ({"event_weights": "buy=nan"}, "--event-weights: the weight of 'buy' must be 0 or a finite number .*, not nan"),
        ({"event_weights": "buy=five"}, "--event-weights: the weight of 'buy' must be .*, not 'five'; give buy=5,"),
        ({"event_weights": '{"buy": true}'}, "--event-weights: the weight of 'buy' must be .*, not True"),
        ({"event_weights": '{"buy": 1e400}'}, "--event-weights: the weight of 'buy' must be 0 or a finite number"),
        ({"event_weights": '{"buy": 1'}, "--event-weights: .* is no JSON object: "),
        ({"event_weights": "buy"}, "--event-weights: 'buy' has a weight without an event type; give buy=5,view=1"),
        ({"event_weights": "buy=1,buy=2"}, "--event-weights: .* has two weights of 'buy'; give one"),
        ({"event_weights": '{"buy": 1, "buy": 2}'}, "--event-weights: .* has two weights of 'buy'; give one"),
        ({"event_weights": "{}"}, "--event-weights: '{}' has no event type"),
        (
            {"event_types": "buy", "event_weights": "view=1"},
            r"--event-weights: 'view' is not in --event-types \(buy\), so no event of it is used; add it there",
        ),
        ({"event_types": "buy", "bought_types": "view"}, "--bought-types: 'view' is not in --event-types"),
        ({"half_life_days": "0"}, "--half-life-days: must be a number of days from 0.01 to 36500, not '0'; without"),
        ({"half_life_days": "nan"}, "--half-life-days: must be a number of days from 0.01 to 36500, not 'nan'"),
        ({"least_value": "inf"}, "--least-value: must be a finite number from 0 to 1000000000, not 'inf'"),
        ({"least_value": "three"}, "--least-value: must be a finite number from 0 to 1000000000, not 'three'"),
        ({"values": "add"}, "--values: invalid choice: 'add'"),
        ({"source": ""}, "--source: must not be empty"),
        ({"user_column": "x", "item_column": "x"}, "one column cannot have two meanings"),
        ({"unknown": "1"}, "unrecognized arguments: --unknown 1"),
    ],
)
def test_a_wrong_argument_is_named_and_is_not_reported_as_refused_data(
    changed: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(argv(**changed))
    assert ended.value.code == arguments.USAGE_ERROR != 2
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith("FAILED: ") and re.search(message, last_line)
