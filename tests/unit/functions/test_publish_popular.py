"""Lists of popular items: each file counts once, wherever a call ends, and only items that the shop has are listed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import item_counts, popular_now
from contracts.documents import Unfit
from publish_popular import catalogue, rollup
from publish_popular.document import Item, Lists, candidates, categories_of
from publish_popular.rollup import Rollup
from publish_popular.windows import Windows, rise, rises
from shared.errors import DependencyFailed
from tests.unit.functions.cloud import ARTIFACTS, CONTEXT, Cloud

NOON = int(datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp())
HOUR = NOON // 3600
DAY = "2026-11-26"
CATEGORIES = {"7": "Drama", "8": "Comedy|Drama", "9": None}


def counts_of(cloud: Cloud, name: str, counts: dict[str, Any], day: str = DAY) -> None:
    """What `count_items` has written for a file."""
    document = item_counts.pack({"schemaVersion": "1.0", "counts": counts})
    cloud.write(ARTIFACTS, item_counts.key_of_file(f"raw/live-{day}/{name}.gz", day), document)


class Server:
    """The endpoint: it knows the items of `fields`, and counts what it is asked."""

    def __init__(self, fields: dict[str, dict[str, Any]]) -> None:
        self.fields, self.asked = fields, 0

    def invoke_endpoint(self, Body: bytes, **_: Any) -> dict[str, Any]:
        self.asked += 1
        asked = json.loads(Body)
        known = [item for item in asked["candidates"] if item in self.fields]
        answer = {
            "userId": asked["userId"], "source": "popular", "modelVersion": "r", "unknownItems": 0,
            "itemList": [
                {"itemId": item, "score": 1.0,
                 "fields": {name: self.fields[item].get(name) for name in asked["fields"]}}
                for item in known
            ],
        }  # fmt: skip
        content = json.dumps(answer).encode()
        return {"Body": StreamingBody(io.BytesIO(content), len(content))}


def situation(cloud: Cloud, aws: Any) -> dict[str, Any]:
    """A new file, and one of another day that was added long ago and counted again."""
    moment = datetime.now(UTC)
    today, before = f"{moment:%Y-%m-%d}", f"{moment - timedelta(days=1):%Y-%m-%d}"
    counts_of(cloud, "a", {f"{moment:%Y-%m-%dT%H}": {"7": 3}}, today)
    counts_of(cloud, "b", {f"{before}T10": {"7": 5}}, before)
    (digest,) = (
        place[1]
        for key in keys(cloud, item_counts.FILES)
        if (place := item_counts.file_of_key(key)) and place[0] == before
    )
    counts_of(cloud, "c", {f"{before}T10": {"7": 6}}, before)
    added = {"schemaVersion": "1.0", "files": {digest: 1}, "counts": {f"{before}T10": {"7": 5}}}
    cloud.write(ARTIFACTS, f"counts/days/{before}.json.gz", item_counts.pack(added))
    entry = {"itemId": "7", "score": 1.0, "fields": {"category": "Drama"}}
    aws.responses["popular-now"] = {"itemList": [entry]}
    return {}


@pytest.fixture
def server() -> Server:
    return Server({item: {"category": name, "title": f"Item {item}"} for item, name in CATEGORIES.items()})


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud, server: Server, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    app = load("publish_popular")
    monkeypatch.setattr(app, "CLOCK", lambda: NOON)
    monkeypatch.setattr(app.CATALOGUE, "_runtime", server)
    return app


def published(cloud: Cloud) -> Any:
    return json.loads(cloud.objects(ARTIFACTS)[popular_now.KEY])


def keys(cloud: Cloud, prefix: str) -> list[str]:
    return sorted(key for key in cloud.objects(ARTIFACTS) if key.startswith(prefix))


def test_without_counts_nothing_is_published(app: ModuleType, cloud: Cloud) -> None:
    assert app.handler({}, CONTEXT) == {"outcome": "NOTHING"}
    assert cloud.objects(ARTIFACTS) == {}


def test_lists_by_window_and_category_hold_known_items_with_their_fields(app: ModuleType, cloud: Cloud) -> None:
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3, "8": 5, "made up": 99}})
    counts_of(cloud, "b", {f"{DAY}T10": {"7": 1}, "2026-11-22T10": {"9": 50}, "2026-11-01T10": {"7": 70}})
    assert app.handler({}, CONTEXT) == {"outcome": "PUBLISHED", "files": 2, "items": 3, "trending": 0}
    found = published(cloud)
    assert found["writtenAt"] == "2026-11-26T12:00:00Z" and found["until"] == NOON
    assert found["popular"]["24h"] == {
        "events": 9,
        "itemList": [["8", 5], ["7", 4]],
        "byCategory": {"Drama": [["8", 5], ["7", 4]], "Comedy": [["8", 5]]},
    }
    assert found["popular"]["7d"]["itemList"] == [["9", 50], ["8", 5], ["7", 4]]
    assert found["popular"]["30d"]["itemList"] == [["7", 74], ["9", 50], ["8", 5]]
    assert found["items"]["8"] == {
        "categories": ["Comedy", "Drama"], "fields": {"title": "Item 8", "category": "Comedy|Drama"}
    }  # fmt: skip
    assert found["items"]["9"] == {"fields": {"title": "Item 9"}}


def test_the_document_is_one_that_recommend_reads(app: ModuleType, cloud: Cloud) -> None:
    from recommend.list_filter import ListFilter
    from recommend.popular_now import PopularNow, StandIn
    from recommend.stored_lists import Popularity

    counts_of(cloud, "a", {f"{DAY}T11": {"7": 600, "8": 500}, "2026-11-23T10": {"7": 2000}})
    app.handler({}, CONTEXT)
    now = PopularNow.from_json(cloud.objects(ARTIFACTS)[popular_now.KEY])
    model = Popularity((("9", 1.0),), "r")
    found = StandIn.at(NOON + 60, model, now).top(3, ListFilter())
    assert [item for item, _ in found.items] == ["7", "8", "9"] and found.window == "24h"
    assert found.fields["8"]["title"] == "Item 8"
    comedy = StandIn.at(NOON + 60, model, now).top(3, ListFilter(categories=("Comedy",)))
    assert comedy.items == (("8", 500.0),)
    rising = StandIn.at(NOON + 60, model, now, "trending").top(1, ListFilter())
    assert (rising.source, rising.items[0][0]) == ("trending", "8")


def test_a_file_counts_once_however_often_it_is_counted(app: ModuleType, cloud: Cloud) -> None:
    for _ in range(3):
        counts_of(cloud, "a", {f"{DAY}T11": {"7": 3}})
        app.handler({}, CONTEXT)
        assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 3]]


def test_counts_are_removed_hours_after_they_were_added_and_a_late_repeat_too(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3}})
    for hours, left in ((0, 1), (1, 1), (2, 0)):
        monkeypatch.setattr(app, "CLOCK", lambda hours=hours: NOON + hours * 3600)
        app.handler({}, CONTEXT)
        assert len(keys(cloud, item_counts.FILES)) == left, hours
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3}})
    app.handler({}, CONTEXT)
    assert keys(cloud, item_counts.FILES) == []
    assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 3]]


def test_a_sum_that_a_slower_call_wrote_over_is_made_again(app: ModuleType, cloud: Cloud) -> None:
    """Two calls at the same time: the slower one did not see a file that the other one has added."""
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3}})
    app.handler({}, CONTEXT)
    stale = cloud.objects(ARTIFACTS)[f"counts/days/{DAY}.json.gz"]
    counts_of(cloud, "b", {f"{DAY}T11": {"7": 4}})
    app.handler({}, CONTEXT)
    assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 7]]
    cloud.write(ARTIFACTS, f"counts/days/{DAY}.json.gz", stale)
    app.handler({}, CONTEXT)
    assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 7]]


def test_a_late_file_counts_in_the_hours_of_its_events(app: ModuleType, cloud: Cloud) -> None:
    counts_of(cloud, "late", {"2026-11-25T13": {"7": 3}, "2026-11-24T10": {"7": 5}}, "2026-11-24")
    app.handler({}, CONTEXT)
    found = published(cloud)["popular"]
    assert (found["24h"]["itemList"], found["7d"]["itemList"]) == ([["7", 3]], [["7", 8]])
    kept = item_counts.unpack(cloud.objects(ARTIFACTS)["counts/days/2026-11-24.json.gz"], "it")["counts"]
    assert kept == {"2026-11-25T13": {"7": 3}, "2026-11-24": {"7": 5}}


def test_files_and_sums_older_than_a_month_do_not_count(app: ModuleType, cloud: Cloud) -> None:
    counts_of(cloud, "old", {"2026-10-01T10": {"7": 3}}, "2026-10-01")
    old = {"schemaVersion": "1.0", "files": {}, "counts": {"2026-10-02": {"7": 3}}}
    cloud.write(ARTIFACTS, "counts/days/2026-10-02.json.gz", item_counts.pack(old))
    assert app.handler({}, CONTEXT) == {"outcome": "NOTHING"}
    assert keys(cloud, item_counts.FILES) == []


def test_a_call_adds_so_many_files_and_the_next_one_the_others(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MOST_FILES", 2)
    for name in "abc":
        counts_of(cloud, name, {f"{DAY}T11": {"7": 1}})
    for number in (2, 3, 3):
        app.handler({}, CONTEXT)
        assert published(cloud)["popular"]["24h"]["itemList"] == [["7", number]]


def test_counts_that_unpack_to_very_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_counts, "MAXIMUM_BYTES", 100_000)
    with pytest.raises(Unfit, match="it: the archive unpacks to more than 100000 bytes"):
        item_counts.unpack(gzip.compress(bytes(200_000)), "it")


@pytest.mark.parametrize("content", [b"", b"no", item_counts.pack({"schemaVersion": "2.0"}), item_counts.pack({})])
def test_counts_that_cannot_be_read_are_left_out(app: ModuleType, cloud: Cloud, content: bytes) -> None:
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3}})
    cloud.write(ARTIFACTS, item_counts.key_of_file("broken", DAY), content)
    assert app.handler({}, CONTEXT)["outcome"] == "PUBLISHED"
    assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 3]]
    cloud.write(ARTIFACTS, f"counts/days/{DAY}.json.gz", content)
    app.handler({}, CONTEXT)
    assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 3]]


@pytest.mark.parametrize(
    "counts",
    [None, [], {"now": {"7": 1}}, {"2026-02-30": {"7": 1}}, {f"{DAY}T11": ["7"]}, {f"{DAY}T11": {"7": 0}},
     {f"{DAY}T11": {"7": 1.5}}, {f"{DAY}T11": {"7": True}}],
)  # fmt: skip
def test_counts_of_another_form_are_refused_by_name(counts: Any) -> None:
    with pytest.raises(Unfit, match="it: counts"):
        item_counts.unpack(item_counts.pack({"schemaVersion": "1.0", "counts": counts}), "it")


def test_withdrawn_items_are_in_no_list(app: ModuleType, cloud: Cloud) -> None:
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3, "8": 5}})
    gone = {"schemaVersion": "1.0", "datasetVersion": "v", "items": ["8"]}
    cloud.write(ARTIFACTS, "serving/withdrawn.json", gone)
    app.handler({}, CONTEXT)
    assert published(cloud)["popular"]["24h"]["itemList"] == [["7", 3]]
    cloud.write(ARTIFACTS, "serving/withdrawn.json", b"{")
    app.handler({}, CONTEXT)
    assert published(cloud)["popular"]["24h"]["itemList"] == [["8", 5], ["7", 3]]


def test_while_the_endpoint_is_dead_earlier_items_and_the_models_popular_ones_are_known(
    app: ModuleType, cloud: Cloud, stub: Callable[[Any], Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts_of(cloud, "a", {f"{DAY}T11": {"7": 3}})
    app.handler({}, CONTEXT)
    counts_of(cloud, "b", {f"{DAY}T11": {"7": 1, "8": 9, "made up": 99}})
    popular = {"schemaVersion": "1.0", "itemList": [{"itemId": "8", "score": 1.0, "categories": ["Comedy"]}, 7]}
    cloud.write(ARTIFACTS, "serving/popular.json", popular)
    runtime = stub(app.RUNTIME)
    runtime.add_client_error("invoke_endpoint", "ValidationError", "Endpoint ncf-recommender not found", 400)
    monkeypatch.setattr(app.CATALOGUE, "_runtime", app.RUNTIME)
    app.handler({}, CONTEXT)
    found = published(cloud)
    assert found["popular"]["24h"] == {
        "events": 13, "itemList": [["8", 9], ["7", 4]], "byCategory": {"Comedy": [["8", 9]], "Drama": [["7", 4]]}
    }  # fmt: skip
    assert found["items"]["7"]["fields"]["title"] == "Item 7"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"itemList": 7}', b'{"itemList": [{"itemId": 7}]}', b"{}"])
def test_an_answer_that_cannot_be_read_is_none(content: bytes) -> None:
    class Garbled:
        def invoke_endpoint(self, **_: Any) -> dict[str, Any]:
            return {"Body": StreamingBody(io.BytesIO(content), len(content))}

    with pytest.raises(DependencyFailed, match="the endpoint's answer cannot be read"):
        catalogue.Catalogue(Garbled(), "ncf-recommender").known(["7"])


def test_the_endpoint_is_asked_in_parts(server: Server) -> None:
    server.fields |= {str(item): {} for item in range(1200)}
    known = catalogue.Catalogue(server, "ncf-recommender").known([str(item) for item in range(1500)])
    assert (len(known), server.asked) == (1200, 3)


def test_the_score_of_a_rise_is_what_its_source_says() -> None:
    assert rise(1, 0) == pytest.approx(0.6167, abs=1e-4)
    assert rise(20, 0) == pytest.approx(2.1593, abs=1e-4)
    # The 5 % quantile of Gamma(30, 30), from a table: 0.7198.
    assert rise(20, 20) == pytest.approx(0.7198, abs=1e-3)
    assert rise(1000, 700) > rise(5, 0), "few choices of a rare item say little"


def test_an_item_trends_if_its_share_rises_not_if_the_shop_has_more_customers() -> None:
    before = {"old": 5000, "steady": 5000, "rare": 0}
    assert rises({"old": 1000, "steady": 1000}, before) == {}
    assert rises({"old": 50_000, "steady": 50_000}, before) == {}, "ten times as many customers"
    found = rises({"old": 1000, "steady": 1000, "new": 40, "rare": 1}, before)
    assert list(found) == ["new"] and found["new"] > 3
    assert rises({"new": 999}, before) == {}
    assert rises({"new": 5000}, {"old": 999}) == {}


def test_each_hour_is_in_the_windows_that_have_it() -> None:
    def names(period: str) -> set[str]:
        windows = Windows(HOUR)
        windows.add({period: {"7": 1}})
        return {name for name, items in windows.totals.items() if items}

    assert names("2026-11-26T12") == names("2026-11-25T13") == {"24h", "7d", "30d"}
    assert names("2026-11-25T12") == names("2026-11-20T00") == names("2026-11-25") == {"7d", "30d", "before"}
    assert names("2026-11-19T23") == names("2026-11-19") == {"30d", "before"}
    assert names("2026-11-18T23") == names("2026-10-28") == {"30d"}
    assert names("2026-10-27T23") == names("2026-10-27") == set()
    assert names("2026-11-26T13") == names("2027-01-01") == set(), "by a clock that is ahead"


def test_hours_of_a_day_become_the_day_when_no_window_needs_them() -> None:
    day = Rollup()
    day.add("a", {"2026-11-24T22": {"7": 1}, "2026-11-24T23": {"7": 2, "8": 1}, "2026-11-25T00": {"7": 4}}, HOUR)
    assert day.needs_tidying(HOUR)
    day.tidy(HOUR)
    assert day.counts == {"2026-11-24": {"7": 3, "8": 1}, "2026-11-25T00": {"7": 4}}
    assert not day.needs_tidying(HOUR) and day.needs_tidying(HOUR + 13)


@pytest.mark.parametrize("hours", range(0, 60, 1))
def test_joining_the_hours_of_a_day_changes_no_window(hours: int) -> None:
    counts = {item_counts.hour_name(HOUR - ago): {str(ago): 1} for ago in range(48)}
    day = Rollup()
    day.add("a", counts, HOUR)
    whole, joined = Windows(HOUR + hours), Windows(HOUR + hours)
    whole.add(day.counts)
    day.tidy(HOUR + hours)
    joined.add(day.counts)
    assert joined.totals == whole.totals


def test_the_items_that_were_chosen_least_are_left_out_of_a_large_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "HOUR_ITEMS", 2)
    day = Rollup()
    day.add("a", {f"{DAY}T11": {"b": 1, "a": 1, "c": 5}}, HOUR)
    day.tidy(HOUR)
    assert day.counts == {f"{DAY}T11": {"c": 5, "a": 1}}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("78"), st.integers(1, 9)), max_size=20))
@settings(max_examples=30, deadline=None)
def test_sums_do_not_depend_on_order_or_repeats(files: list[tuple[str, str, int]]) -> None:
    once = {name: {f"{DAY}T11": {item: number}} for name, item, number in files}
    forward, backward = Rollup(), Rollup()
    for name, *_ in files:
        forward.add(name, once[name], HOUR)
    for name in sorted(once, reverse=True):
        backward.add(name, once[name], HOUR)
    assert forward.to_document() == backward.to_document()


def many(number: int, fields: dict[str, Any]) -> tuple[Lists, dict[str, Item]]:
    known = {str(item): Item((f"c{item % 150}",), fields) for item in range(number)}
    scores = {str(item): number - item for item in range(number)}
    return Lists(dict.fromkeys((*popular_now.WINDOWS, "before"), scores), {}, known), known


def test_the_document_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lists, known = many(20_000, {"title": "x" * 1000})
    found = json.loads(lists.to_json(NOON, known))
    day = found["popular"]["24h"]
    assert len(day["itemList"]) == 100 and len(day["byCategory"]) == 100
    assert all(len(one) == 100 for one in day["byCategory"].values())
    with_fields = [item for item, entry in found["items"].items() if "fields" in entry]
    assert 900 < len(with_fields) < 1100
    monkeypatch.setattr("publish_popular.document.DOCUMENT_BYTES", 2 << 20)
    assert len(lists.to_json(NOON, known)) <= 2 << 20


def test_candidates_come_from_each_ranking_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("publish_popular.document.CANDIDATES", 3)
    assert candidates([{"t": 1.5}, {"a": 9, "b": 7, "c": 5}, {"a": 9, "d": 4}]) == ["t", "a", "b"]


@pytest.mark.parametrize(
    ("category", "names"), [("Drama | Comedy|", ("Comedy", "Drama")), (None, ()), (7, ()), ("", ()), ("|", ())]
)
def test_an_items_categories_are_those_of_the_server(category: Any, names: tuple[str, ...]) -> None:
    assert categories_of(category) == names
