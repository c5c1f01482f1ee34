"""The history of an append: the newest full drop closed before it, and the appends since."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber
from moto.s3.models import s3_backends

from contracts import unions
from contracts.documents import Unfit
from contracts.unions import APPEND, FULL, Part
from shared.errors import InvalidInput
from start_preparation import plan, union
from start_preparation.union import Closed, closed_drops, unite
from tests.unit.functions.cloud import ACCOUNT, APPLICATION, CONTEXT, DATA, Cloud, job_run, sample_event

EVENT = sample_event("start_preparation")
VERSION = plan.from_event(EVENT, DATA, "", {}).version
OWN = "2026-11-23"
MOMENT = union.moment_of(VERSION)


def said(documents: dict[str, Any], names_read: list[str] | None = None) -> union.ReadMany:
    def read(names: Sequence[str]) -> list[Any]:
        if names_read is not None:
            names_read.extend(names)
        return [documents[name] for name in names]

    return read


def united(
    drops: dict[str, tuple[int, Any]], own: str = "own", until: int = 100, defaults: dict[str, str] | None = None
) -> unions.Union:
    """`drops`: the second of the marker and the kind, or what the drop says; None: it says nothing."""
    documents = {
        name: {"kind": what} if isinstance(what, str) else what for name, (_, what) in drops.items() if what is not None
    }
    closed = [Closed(name, second, name in documents) for name, (second, _) in drops.items()]
    return unite(closed, Part(own, APPEND), until, defaults or {}, said(documents))


def names(found: unions.Union) -> list[str]:
    return [part.name for part in found.parts]


def test_the_newest_full_drop_and_the_appends_since() -> None:
    drops = {"a": (1, None), "b": (2, APPEND), "c": (3, FULL), "d": (4, APPEND), "e": (5, APPEND), "own": (100, APPEND)}
    found = united(drops)
    assert names(found) == ["c", "d", "e", "own"]
    assert [part.kind for part in found.parts] == [FULL, APPEND, APPEND, APPEND]
    assert found.warnings == ()


def test_a_drop_that_is_being_written_has_no_part() -> None:
    objects = [
        ("raw/a/x.csv", 1),
        ("raw/a/_SUCCESS", 2),
        ("raw/b/x.csv", 3),
        ("raw/b/_drop.json", 3),
        ("raw/_SUCCESS", 1),
    ]
    assert closed_drops(objects) == [Closed("a", 2, has_document=False)]


def test_a_later_drop_has_no_part_in_an_earlier_version() -> None:
    drops = {"full": (1, None), "own": (50, APPEND), "later": (51, APPEND), "laterfull": (60, None)}
    assert names(united(drops, until=50)) == ["full", "own"]


def test_two_appends_of_the_same_second_are_in_the_unions_of_both() -> None:
    drops = {"full": (1, None), "x": (50, APPEND), "y": (50, APPEND)}
    assert names(united(drops, "x", until=50)) == names(united(drops, "y", until=50)) == ["full", "x", "y"]


def test_a_full_drop_of_the_same_second_comes_first() -> None:
    drops = {"old": (1, None), "a": (49, APPEND), "z-full": (50, FULL), "own": (50, APPEND), "b": (50, APPEND)}
    assert names(united(drops, until=50)) == ["z-full", "b", "own"]


def test_a_marker_that_is_written_again_moves_the_drop_to_its_new_time() -> None:
    assert names(united({"a": (1, None), "own": (2, APPEND), "b": (3, APPEND)}, until=2)) == ["a", "own"]
    assert names(united({"a": (1, None), "own": (9, APPEND), "b": (3, APPEND)}, until=9)) == ["a", "b", "own"]


def test_an_append_without_a_full_drop_is_a_beginning_with_a_warning() -> None:
    found = united({"a": (1, APPEND), "own": (100, APPEND)})
    assert names(found) == ["a", "own"]
    assert found.warnings == (
        "no full drop is closed before raw/own/: it is learned from the 2 appends alone; drop the whole history once "
        '(without "kind" in _drop.json) if there is more',
    )


def test_a_drop_whose_document_cannot_be_used_is_left_out_and_named() -> None:
    found = united(
        {"full": (1, None), "bad": (2, InvalidInput("raw/bad/_drop.json is not JSON")), "own": (100, APPEND)}
    )
    assert names(found) == ["full", "own"]
    assert found.warnings == ("raw/bad/ is left out: raw/bad/_drop.json is not JSON",)


def test_each_drop_has_its_own_columns() -> None:
    own = {"kind": APPEND, "userColumn": "Kunde", "testShare": 0.1}
    found = united(
        {"full": (1, None), "a": (2, own), "own": (100, APPEND)}, defaults={"itemColumn": "SKU", "split": "auto"}
    )
    assert found.parts[0].parameters == {"itemColumn": "SKU"}
    assert found.parts[1].parameters == {"userColumn": "Kunde", "itemColumn": "SKU"}


def test_documents_are_read_back_to_the_full_drop_alone() -> None:
    names_read: list[str] = []
    count = 5000
    documents = {f"d{number:05}": {"kind": APPEND} for number in range(count)}
    documents["d03000"] = {"kind": FULL}
    closed = [Closed(name, place, has_document=True) for place, name in enumerate(documents)]
    found = unite(closed, Part("own", APPEND), count, {}, said(documents, names_read))
    assert (names(found)[0], len(found.parts)) == ("d03000", 2001)
    assert len(names_read) <= 2000 + 2 * union.CHUNK


def test_the_document_is_read_as_it_was_written() -> None:
    found = united({"full": (1, None), "a": (2, {"kind": APPEND, "userColumn": "K"}), "own": (100, APPEND)})
    document = found.to_document(VERSION)
    assert unions.from_json(json.dumps(document).encode(), "u") == found
    for change, words in (
        ({"schemaVersion": "2.0"}, "schemaVersion must be 1.0, not '2.0'"),
        ({"drops": []}, "drops must be a list of at least one drop"),
        ({"drops": [{"name": "a", "kind": "part"}]}, r"drops\[0\] must be an object with a name and a kind"),
        ({"drops": [{"name": "a", "kind": "full", "parameters": {"format": 1}}]}, "must be an object of strings"),
    ):
        with pytest.raises(Unfit, match=words):
            unions.from_json(json.dumps({**document, **change}).encode(), "u")


# The handler

Options = Callable[[], dict[str, str]]


@pytest.fixture
def options(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Options:
    """The arguments of the job that was started last."""
    calls: list[dict[str, Any]] = []
    start = app.request.start_job_run

    def note(*arguments: Any, **named: Any) -> Any:
        calls.append(start(*arguments, **named))
        return calls[-1]

    monkeypatch.setattr(app.request, "start_job_run", note)

    def given() -> dict[str, str]:
        words = calls[-1]["jobDriver"]["sparkSubmit"]["entryPointArguments"]
        return dict(zip(words[::2], words[1::2], strict=True))

    return given


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    return load("start_preparation")


def close(cloud: Cloud, name: str, second: int, document: dict[str, Any] | None = None) -> None:
    cloud.write(DATA, f"raw/{name}/a.csv", b"u,i,1\n")
    cloud.write(DATA, f"raw/{name}/_SUCCESS", b"")
    if document is not None:
        cloud.write(DATA, f"raw/{name}/_drop.json", {"schemaVersion": "1.0", **document})
    moment = datetime.fromtimestamp(MOMENT + second, UTC).replace(tzinfo=None)
    marker = s3_backends[ACCOUNT]["aws"].get_object(DATA, f"raw/{name}/_SUCCESS")
    assert marker is not None
    marker.last_modified = moment


def started(emr: Stubber) -> None:
    arn = f"arn:aws:emr-serverless:eu-central-1:123456789012:/applications/{APPLICATION}/jobruns/00f1"
    emr.add_response("start_job_run", {"applicationId": APPLICATION, "jobRunId": "00f1", "arn": arn})
    emr.add_response("get_job_run", job_run("SUBMITTED"))


def written(cloud: Cloud) -> dict[str, Any]:
    content = cloud.s3.get_object(Bucket=DATA, Key=f"unions/{VERSION}.json")["Body"].read()
    document: dict[str, Any] = json.loads(content)
    return document


def test_the_union_is_written_once_and_a_retry_keeps_it(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    close(cloud, "full", -100)
    close(cloud, "day", -50, {"kind": "append"})
    close(cloud, OWN, 0, {"kind": "append", "userColumn": "Kunde"})
    emr.add_client_error("start_job_run", "InternalServerException", "down", 500)
    with pytest.raises(Exception, match="StartJobRun"):
        app.handler(EVENT, CONTEXT)
    assert [drop["name"] for drop in written(cloud)["drops"]] == ["full", "day", OWN]
    assert written(cloud)["drops"][2] == {"name": OWN, "kind": "append", "parameters": {"userColumn": "Kunde"}}
    close(cloud, "between", -20, {"kind": "append"})  # deleted, restored, or late: the version stays what it was
    started(emr)
    app.handler(EVENT, CONTEXT)
    assert [drop["name"] for drop in written(cloud)["drops"]] == ["full", "day", OWN]


def test_the_job_of_an_append_is_told_its_union(app: ModuleType, cloud: Cloud) -> None:
    from start_preparation import request

    close(cloud, OWN, 0, {"kind": "append", "historyDays": 90})
    read = lambda key: cloud.s3.get_object(Bucket=DATA, Key=key)["Body"].read()  # noqa: E731
    preparation = replace(plan.from_event(EVENT, DATA, "", {}, read), is_union=True)
    call = request.start_job_run(
        preparation, attempt=1, parent_version=None, name_prefix="ncf", data_bucket=DATA, artifacts_bucket="a",
        application_id="b", execution_role_arn="c", entry_point="d", py_files="e", code_version="f", log_uri="g",
        log_group="h", timeout_minutes=1,
    )  # fmt: skip
    words = call["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--union"] == f"s3://{DATA}/unions/{VERSION}.json"
    assert (options["--drops"], options["--history-days"]) == (f"s3://{DATA}/raw", "90")


def test_a_full_drop_without_live_events_is_read_alone(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud, options: Options
) -> None:
    close(cloud, "day", -50, {"kind": "append"})
    close(cloud, OWN, 0, {"kind": "full"})
    started(emr)
    app.handler(EVENT, CONTEXT)
    assert [drop["name"] for drop in written(cloud)["drops"]] == [OWN]
    assert "--union" not in options()


def test_a_full_drop_is_read_with_the_live_events_since_and_a_retry_keeps_them(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud, options: Options
) -> None:
    close(cloud, OWN, 0, {})
    cloud.write(DATA, f"raw/{day(-1)}/_drop.json", {"schemaVersion": "1.0", **LIVE})
    emr.add_client_error("start_job_run", "InternalServerException", "down", 500)
    with pytest.raises(Exception, match="StartJobRun"):
        app.handler(EVENT, CONTEXT)
    cloud.write(DATA, f"raw/{day(0)}/_drop.json", {"schemaVersion": "1.0", **LIVE})
    started(emr)
    app.handler(EVENT, CONTEXT)
    assert [drop["name"] for drop in written(cloud)["drops"]] == [OWN, day(-1)]
    assert options()["--union"] == f"s3://{DATA}/unions/{VERSION}.json"


# Live events

LIVE = {"kind": "append", "userColumn": "USER_ID", "ignoreTypes": "impression"}


def day(offset: int) -> str:
    """The live folder of the day that is `offset` days after that of MOMENT."""
    return f"live-{datetime.fromtimestamp(MOMENT, UTC) + timedelta(days=offset):%Y-%m-%d}"


def moment(offset: float) -> int:
    return MOMENT + int(offset * 86_400)


def with_live(
    drops: dict[str, tuple[int, Any]], offsets: Sequence[int], own: Part, **more: Any
) -> tuple[list[str], tuple[str, ...]]:
    """The parts of the union with the live folders of these days, and its warnings."""
    kinds = {name: {"kind": kind} for name, (_, kind) in drops.items()} | {day(offset): LIVE for offset in offsets}
    objects = [(f"raw/{name}/_SUCCESS", second) for name, (second, _) in drops.items()]
    objects += [(f"raw/{name}/_drop.json", 1) for name in kinds]
    objects += [(f"raw/{day(offset)}/a.jsonl.gz", 1) for offset in offsets]
    found = unite(closed_drops(objects), own, MOMENT, {"userColumn": "Kunde"}, said(kinds), **more)
    return names(found), found.warnings


def test_live_events_since_the_history_are_read_with_it() -> None:
    drops = {"old": (moment(-90), FULL), "full": (moment(-30), FULL), "orders": (moment(-10), APPEND)}
    # A full drop may end some days before it was closed; the folder of a later day is not there yet for this version.
    found, warnings = with_live(drops, [-38, -37, -36, -11, -9, 0, 1], Part(day(0), APPEND))
    assert found == ["full", day(-37), day(-36), day(-11), "orders", day(-9), day(0)] and warnings == ()
    # Late files of any day are in the union of the newest.
    assert with_live(drops, [-36, -9], Part("orders", APPEND))[0] == ["full", day(-36), "orders", day(-9)]
    # A new history begins anew: what the shop added before it is in it.
    found, _ = with_live({**drops, "new": (MOMENT, FULL)}, [-8, -7, -1, 0], Part("new", FULL))
    assert found == ["new", day(-7), day(-1), day(0)]


def test_live_events_without_a_history_are_a_beginning_with_a_warning() -> None:
    found, warnings = with_live({}, [-400, -1, 0], Part(day(0), APPEND))
    assert found == [day(-400), day(-1), day(0)]
    assert len(warnings) == 1 and "it is learned from the 1 appends alone" in warnings[0]


def test_a_history_outside_the_bucket_is_read_with_live_events() -> None:
    outside = union.part("", {}, {"userColumn": "Kunde", "split": "auto"}, source="s3://lake/shop/")
    assert outside == Part("", FULL, {"userColumn": "Kunde"}, "s3://lake/shop/")
    found = unite(
        closed_drops([(f"raw/{day(-1)}/_drop.json", 1)]),
        Part(day(0), APPEND),
        MOMENT,
        {},
        said({day(-1): LIVE}),
        outside,
    )
    assert names(found) == ["", day(-1), day(0)] and found.warnings == ()
    assert unions.from_json(json.dumps(found.to_document(VERSION)).encode(), "u") == found
    # An append of the shop belongs to its own drops.
    assert with_live({"full": (1, FULL)}, [], Part("own", APPEND), outside=outside)[0] == ["full", "own"]
    with pytest.raises(Unfit, match=r"drops\[0\]\.source must be a URI where the name is empty, not ''"):
        unions.from_json(b'{"schemaVersion": "1.0", "drops": [{"name": "", "kind": "full"}]}', "u")


@pytest.mark.parametrize("folder", ["live-2026-02-30", "live-26-01-01", "live"])
def test_a_folder_that_is_no_day_is_no_live_folder(folder: str) -> None:
    closed = closed_drops([(f"raw/{folder}/_drop.json", 1), (f"raw/{folder}/a.gz", 1)])
    assert names(unite(closed, Part("own", FULL), MOMENT, {}, said({folder: LIVE}))) == ["own"]


def test_a_live_folder_has_columns_of_its_own_and_not_those_of_the_shops_files(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops = {"weightColumn": "Preis", "timestampFormat": "dd.MM.yyyy", "split": "leave-last-out"}
    monkeypatch.setattr(app, "SETTINGS", replace(app.SETTINGS, preparation_parameters=shops))
    own = day(0)
    close(cloud, "full", -100, {})
    cloud.write(DATA, f"raw/{own}/_drop.json", {"schemaVersion": "1.0", **LIVE})
    started(emr)
    trigger = {**EVENT["trigger"], "key": f"raw/{own}/_SUCCESS"}
    app.handler({**EVENT, "trigger": trigger}, CONTEXT)
    given = options()
    assert (given["--user-column"], given["--ignore-types"], given["--split"]) == (
        "USER_ID", "impression", "leave-last-out",
    )  # fmt: skip
    assert not {"--weight-column", "--timestamp-format"} & given.keys()
    document = json.loads(cloud.s3.get_object(Bucket=DATA, Key=given["--union"].split("/", 3)[3])["Body"].read())
    read = {"userColumn": "USER_ID", "ignoreTypes": "impression"}
    assert document["drops"] == [
        {"name": "full", "kind": "full", "parameters": {"weightColumn": "Preis", "timestampFormat": "dd.MM.yyyy"}},
        {"name": own, "kind": "append", "parameters": read},
    ]
