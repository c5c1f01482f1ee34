"""After the search no byte that is kept has the id, and the receipt says what was removed or what must stay."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import tarfile
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from contracts.forgotten import Forgotten, digest
from contracts.lists import part_of
from erase import archive, plan, rows
from erase.plan import InUse
from shared.errors import DependencyFailed, InvalidInput
from shared.ledger import Ledger
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DATA,
    Clock,
    Cloud,
    archive_of,
    sample_event,
)

KEY = "5a" * 32
USER = "jané.doe@example.org"
OLD, NEW = "v20261101t000000z-00000001", "v20261120t000000z-00000002"
LATER = 1_795_651_200.0
HEADER = "user_id,item_id,timestamp\n"


def situation(cloud: Cloud, aws: Any) -> dict[str, Any]:
    """A person in one place of each kind, because each call costs test_api_faults.py two whole searches."""
    forget_somebody(cloud)
    everywhere(cloud, versions=(OLD,), drops="1")
    return sample_event("erase")


def forget_somebody(cloud: Cloud) -> None:
    cloud.put("FORGOTTEN", "KEY", key=KEY)
    person = digest(KEY, USER)
    since = "2026-11-05T00:00:00.000Z"
    cloud.put("FORGOTTEN", f"PERSON#{person}", kind="FORGOTTEN", person=person, since=since, inForceSince=since)


def everywhere(cloud: Cloud, versions: Sequence[str] = (OLD, NEW), drops: str = "12") -> None:
    """A shop with the person in everything that it keeps. The model of OLD served before that of NEW."""
    text = f"{HEADER}u1,a,100\n{USER},a,101\n u2 ,{USER},102\r\n"
    objects: dict[str, bytes] = {
        f"{DATA}/raw/1/a.csv": text.encode(),
        f"{DATA}/raw/1/_SUCCESS": b"",
        f"{DATA}/raw/1/items.csv": b"item_id,title\na,Tea\n",
        f"{DATA}/raw/2/b.tsv.gz": gzip.compress(text.replace(",", "\t").encode()),
        f"{DATA}/raw/2/c.csv.bz2": bz2.compress(f'{HEADER}"{USER}","a,b",5\n"u1","c",6\n'.encode()),
        f"{DATA}/raw/2/d.jsonl": f'{{"user_id": "{USER}", "item_id": "a", "timestamp": 5}}\n'.encode()
        + b'{"user_id": "u1", "item_id": "a", "timestamp": 5}\n',
        f"{DATA}/quarantine/{OLD}/report.json": b"{}",
        f"{DATA}/quarantine/{OLD}/rows/part-00000.json": json.dumps(
            {"user_id": "u1", "line": f"{USER},a,b,c,d"}
        ).encode()
        + b"\n"
        + json.dumps({"user_id": "u9", "line": None}).encode(),
    }
    objects = {
        key: content
        for key, content in objects.items()
        if not key.startswith(f"{DATA}/raw/") or key.split("/")[2] in drops
    }
    for name in versions:
        users = ["u1", USER] if name == OLD else ["u1", "\x7fforgotten-1"]
        objects[f"{DATA}/datasets/{name}/users/part-00000.parquet"] = json.dumps(users, ensure_ascii=False).encode()
        objects[f"{DATA}/datasets/{name}/manifest.json"] = b"{}"
        golden = json.dumps([{"request": {"userId": users[1]}, "response": {"userId": users[1]}}]).encode()
        bundle = {"bundle.json": b"{}", "user_ids.json": json.dumps(users).encode(), "golden.json": golden}
        objects[f"{ARTIFACTS}/training/ncf-{name}-r1/output/model.tar.gz"] = archive_of(bundle)
        objects[f"{ARTIFACTS}/training/ncf-{name}-r1/output/output.tar.gz"] = archive_of({"golden.json": golden})
        objects[f"{ARTIFACTS}/runs/{name}-r1/golden.json"] = golden
        lists = {"users": {user: [["a", 1.0]] for user in users}}
        objects[f"{ARTIFACTS}/batch/ncf-{name}-r1-b1/lists/{part_of(USER, 1):04d}.json.out"] = json.dumps(
            lists
        ).encode()
        cloud.put(f"CHAMPION#{name}-r1", kind="CHAMPION", runId=f"{name}-r1", datasetVersion=name)
    for place, content in objects.items():
        bucket, _, key = place.partition("/")
        cloud.write(bucket, key, content)
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=f"{NEW}-r1", datasetVersion=NEW)
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=NEW)
    cloud.put(f"DATASET#{OLD}", kind="DATASET", datasetVersion=OLD, status="CLAIMED")
    cloud.put(
        f"DATASET#{NEW}", kind="DATASET", datasetVersion=NEW, status="CLAIMED", begunAt="2026-11-20T00:01:00.000Z"
    )


@pytest.fixture
def shop(cloud: Cloud) -> Cloud:
    """That shop, with versions."""
    for bucket in (DATA, ARTIFACTS):
        cloud.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    forget_somebody(cloud)
    everywhere(cloud)
    return cloud


@pytest.fixture
def app(load: Callable[..., ModuleType], shop: Cloud) -> ModuleType:
    return load("erase")


def unpacked(key: str, content: bytes) -> list[bytes]:
    """The bytes of an object and of what is packed in it."""
    if key.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as members:
            files = [members.extractfile(member) for member in members.getmembers()]
            return [content, *(file.read() for file in files if file)]
    if key.endswith(".gz"):
        return [content, gzip.decompress(content)]
    return [content, bz2.decompress(content)] if key.endswith(".bz2") else [content]


def kept_with(cloud: Cloud, user_id: str) -> list[str]:
    """The objects, in all their versions, and the items of the ledger that have the id in any form."""
    forms = {user_id.encode(), json.dumps(user_id)[1:-1].encode(), user_id.encode("latin-1")}
    found = []
    for bucket in (DATA, ARTIFACTS):
        for entry in cloud.s3.list_object_versions(Bucket=bucket).get("Versions", []):
            key, version = entry["Key"], entry["VersionId"]
            content = cloud.s3.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read()
            if any(form in piece for piece in unpacked(key, content) for form in forms):
                found.append(key)
    for item in cloud.table.scan()["Items"]:
        text = json.dumps(item, default=str, ensure_ascii=False)
        found += [f"{item['pk']} {item['sk']}"] if user_id in text else []
    return found


def read(cloud: Cloud, bucket: str, key: str) -> bytes:
    content: bytes = cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_no_byte_that_is_kept_has_the_id(app: ModuleType, shop: Cloud, log: Callable[[], list[dict[str, Any]]]) -> None:
    everywhere(shop)  # a second time: what is overwritten is kept as a version
    assert len(kept_with(shop, USER)) >= 20
    # An item may be called as a person is: it stays.
    for key in ("raw/1/a.csv", "raw/2/b.tsv.gz"):
        content = HEADER + f"u1,a,100\n{USER},a,101\n"
        content = content.replace(",", "\t") if "tsv" in key else content
        shop.write(DATA, key, gzip.compress(content.encode()) if key.endswith("gz") else content)
    answer = app.handler(sample_event("erase"), CONTEXT)
    assert (answer["status"], answer["people"], answer["remaining"]) == ("ERASED", 1, [])
    assert kept_with(shop, USER) == []
    assert "jan" not in json.dumps(log(), ensure_ascii=False)
    person = shop.item("FORGOTTEN", f"PERSON#{digest(KEY, USER)}")
    receipt = shop.item("FORGOTTEN", person["receipt"])
    assert receipt["status"] == "ERASED"
    assert receipt["removed"] == answer["removed"]
    assert {name: int(number) for name, number in answer["removed"].items() if name != "overwritten versions"} == {
        "rows": 5,
        "files written again": 5,
        "files of dataset versions": 1,
        "lists of batches": 1,
        "golden requests": 1,
        "archives of trainings": 2,
        "models to go back to": 1,
    }
    assert receipt["startedAt"] <= receipt["endedAt"]
    assert shop.item("FORGOTTEN", "ERASURE") == {}
    assert app.handler(sample_event("erase"), CONTEXT)["status"] == "NOTHING_TO_DO"


def test_what_is_of_others_stays_byte_by_byte(app: ModuleType, shop: Cloud) -> None:
    untouched = read(shop, DATA, "raw/1/items.csv")
    app.handler(sample_event("erase"), CONTEXT)
    assert read(shop, DATA, "raw/1/a.csv") == f"{HEADER}u1,a,100\n u2 ,{USER},102\r\n".encode()
    assert gzip.decompress(read(shop, DATA, "raw/2/b.tsv.gz")) == (
        f"{HEADER}u1,a,100\n u2 ,{USER},102\r\n".replace(",", "\t").encode()
    )
    assert bz2.decompress(read(shop, DATA, "raw/2/c.csv.bz2")) == f'{HEADER}"u1","c",6\n'.encode()
    assert read(shop, DATA, "raw/2/d.jsonl") == b'{"user_id": "u1", "item_id": "a", "timestamp": 5}\n'
    assert read(shop, DATA, "raw/1/items.csv") == untouched
    assert read(shop, DATA, "raw/1/_SUCCESS") == b""
    assert json.loads(read(shop, DATA, f"quarantine/{OLD}/rows/part-00000.json"))["user_id"] == "u9"
    assert read(shop, DATA, f"datasets/{OLD}/manifest.json") == b"{}"
    assert b"u1" in read(shop, DATA, f"datasets/{NEW}/users/part-00000.parquet")
    assert read(shop, ARTIFACTS, f"training/ncf-{NEW}-r1/output/model.tar.gz")
    assert shop.item(f"CHAMPION#{NEW}-r1") and not shop.item(f"CHAMPION#{OLD}-r1")


def test_a_model_that_serves_and_its_data_stay_and_are_named(app: ModuleType, shop: Cloud) -> None:
    shop.put("SERVING", "CURRENT", kind="SERVING", runId=f"{OLD}-r1", datasetVersion=OLD)
    answer = app.handler(sample_event("erase"), CONTEXT)
    assert answer["status"] == "WAITING"
    why = "has the id of a forgotten person: it serves; it goes when another model serves"
    assert answer["remaining"] == [
        f"datasets/{OLD}/ was prepared before the tombstones: the model that serves was trained on it",
        f"runs/{OLD}-r1/golden.json {why}",
        f"training/ncf-{OLD}-r1/output/model.tar.gz {why}",
        f"training/ncf-{OLD}-r1/output/output.tar.gz {why}",
    ]
    assert {key.split("/")[0] for key in kept_with(shop, USER)} == {"raw", "datasets", "runs", "training"}
    assert "erasedAt" not in shop.item("FORGOTTEN", f"PERSON#{digest(KEY, USER)}")
    assert app.handler(sample_event("erase"), CONTEXT)["status"] == "NOTHING_TO_DO", "nothing has changed since"
    shop.put("SERVING", "CURRENT", kind="SERVING", runId=f"{NEW}-r1", datasetVersion=NEW)
    assert app.handler(sample_event("erase"), CONTEXT)["status"] == "ERASED"


def test_the_newest_data_that_do_not_know_the_tombstone_stay_for_the_next_indices(app: ModuleType, shop: Cloud) -> None:
    shop.put(f"DATASET#{NEW}", kind="DATASET", datasetVersion=NEW, status="CLAIMED", begunAt="2026-11-04T00:00:00.000Z")
    answer = app.handler(sample_event("erase"), CONTEXT)
    assert (answer["status"], len(answer["remaining"])) == ("WAITING", 1)
    assert answer["remaining"][0].startswith(f"datasets/{NEW}/ was prepared before the tombstones")


@pytest.mark.parametrize("status", ["STALE", "PREPARED", None])
def test_an_erased_version_that_waited_for_a_run_is_announced_no_more(
    app: ModuleType, shop: Cloud, status: str | None
) -> None:
    """Reconcile announces such versions, and the training would miss the files."""
    if status:
        shop.put(f"DATASET#{OLD}", kind="DATASET", datasetVersion=OLD, status=status)
    else:
        shop.table.delete_item(Key={"pk": f"DATASET#{OLD}", "sk": "STATE"})
    assert app.handler(sample_event("erase"), CONTEXT)["status"] == "ERASED"
    state = shop.item(f"DATASET#{OLD}")
    assert (state["status"], state["reasons"]) == (
        "QUARANTINED",
        ["its files were prepared before people were forgotten, and are deleted"],
    )


@pytest.mark.parametrize(("run", "left"), [("RUNNING", True), ("PARKED", True), ("REJECTED", False), (None, False)])
def test_a_version_that_a_run_began_to_read_after_the_search_did_stays(
    app: ModuleType, shop: Cloud, monkeypatch: pytest.MonkeyPatch, run: str | None, left: bool
) -> None:
    monkeypatch.setattr(Ledger, "unfinished_runs", lambda ledger: [])  # as the search saw it
    if run:
        shop.put(f"RUN#{OLD}-r1", kind="RUN", runId=f"{OLD}-r1", datasetVersion=OLD, status=run)
    answer = app.handler(sample_event("erase"), CONTEXT)
    sentence = f"datasets/{OLD}/ was prepared before the tombstones: a run that is not over reads it"
    assert (sentence in answer["remaining"]) == left
    assert shop.item(f"DATASET#{OLD}")["status"] == "CLAIMED"


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        ("raw/3/notes.pdf", b"%PDF", "is of a kind whose rows are not known"),
        ("raw/3/e.csv.gz", b"no gzip", "cannot be read as rows"),
        ("raw/3/e.csv", b"a,b\r" * 3, "has lines that end with a carriage return alone"),
        (
            "raw/3/e.csv",
            f"{USER};x;17\nu2;y;18\n".encode(),
            "has the id in 1 rows, and it is not sure which column holds users",
        ),
    ],
)
def test_a_file_that_cannot_be_written_again_is_named_or_deleted_on_demand(
    app: ModuleType, shop: Cloud, key: str, content: bytes, reason: str
) -> None:
    shop.write(DATA, key, content)
    answer = app.handler({"now": True}, CONTEXT)
    assert answer["remaining"] == [f"{key} {reason}: write it again without these people, or delete it"]
    answer = app.handler({"now": True, "unreadable": "delete"}, CONTEXT)
    assert (answer["status"], answer["removed"]["files that could not be read"]) == ("ERASED", 1)
    with pytest.raises(shop.s3.exceptions.NoSuchKey):
        read(shop, DATA, key)


def test_the_drop_itself_says_which_column_holds_users(app: ModuleType, shop: Cloud) -> None:
    shop.write(DATA, "raw/4/_drop.json", {"schemaVersion": "1.0", "userColumn": "who"})
    shop.write(DATA, "raw/4/part/e.csv", f"who,what,when,whom\n{USER},a,1,b\nu2,a,2,{USER}\n".encode())
    assert app.handler({"now": True}, CONTEXT)["status"] == "ERASED"
    assert read(shop, DATA, "raw/4/part/e.csv") == f"who,what,when,whom\nu2,a,2,{USER}\n".encode()


@pytest.mark.parametrize("document", [{"userColumn": "USER_ID", "eventIdColumn": "EVENT_ID"}, None])
def test_live_events_are_erased_and_those_of_others_stay(
    app: ModuleType, shop: Cloud, document: dict[str, Any] | None
) -> None:
    def line(user: str, event_id: str, **more: Any) -> bytes:
        named = {"USER_ID": user, "ITEM_ID": "a", "EVENT_TYPE": "view", "TIMESTAMP": 1_795_392_000_789}
        return json.dumps({**named, "EVENT_ID": event_id, **more}, ensure_ascii=False).encode() + b"\n"

    others = [line("u1", "1", EVENT_VALUE=2.5, SESSION_ID="s"), line("session:s", "2")]
    files = {"a": [others[0], line(USER, "3", SESSION_ID="s"), others[1]], "b": [line(USER, "4"), line(USER, "5")]}
    for name, lines in files.items():
        shop.write(DATA, f"raw/live-2026-11-23/{name}.jsonl.gz", gzip.compress(b"".join(lines)))
    if document:  # today's folder has none before it is announced
        shop.write(DATA, "raw/live-2026-11-23/_drop.json", {"schemaVersion": "1.0", **document})
    shop.write(DATA, "raw/live-2026-11-23/_SUCCESS", b'{"files": {"live-2026-11-23": 2}, "digest": "0"}')
    answer = app.handler({"now": True}, CONTEXT)
    assert answer["status"] == "ERASED" and answer["remaining"] == []
    kept = [gzip.decompress(read(shop, DATA, f"raw/live-2026-11-23/{name}.jsonl.gz")) for name in files]
    assert kept == [b"".join(others), b""]


def test_people_are_erased_together_once_the_first_is_due(
    app: ModuleType, shop: Cloud, book: Ledger, clock: Clock
) -> None:
    shop.table.delete_item(Key={"pk": "FORGOTTEN", "sk": f"PERSON#{digest(KEY, USER)}"})
    for days, user in ((13, USER), (1, "u2")):
        clock.now = LATER - days * 86_400
        book.forget(digest(KEY, user), "asked for it", None)
        book.in_force(digest(KEY, user))
    assert app.handler(sample_event("erase"), CONTEXT)["status"] == "NOTHING_TO_DO"
    assert app.handler({"now": True}, CONTEXT)["people"] == 2
    assert b"u2" not in read(shop, DATA, "raw/1/a.csv")


def test_a_call_goes_on_where_the_one_before_ended(
    app: ModuleType, shop: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the clock takes 100 s here, so a call ends after a few objects."""
    everywhere(shop)
    monkeypatch.setattr(app, "time", SimpleNamespace(monotonic=itertools.count(0, 100).__next__))
    statuses = [app.handler(sample_event("erase"), CONTEXT)["status"]]
    while statuses[-1] == "GOING_ON":
        assert len(statuses) < 60
        statuses.append(app.handler(sample_event("erase"), CONTEXT)["status"])
    assert (len(statuses) > 5, statuses[-1]) == (True, "ERASED")


def test_a_search_that_failed_goes_on(app: ModuleType, shop: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    put = app.BUCKETS["data"].put_pieces
    monkeypatch.setattr(app.BUCKETS["data"], "put_pieces", _failing)
    with pytest.raises(DependencyFailed):
        app.handler(sample_event("erase"), CONTEXT)
    monkeypatch.setattr(app.BUCKETS["data"], "put_pieces", put)
    assert app.handler(sample_event("erase"), CONTEXT)["status"] == "ERASED"
    assert [key for key in kept_with(shop, USER) if not key.startswith("raw/")] == []


def _failing(key: str, pieces: Any) -> None:
    raise DependencyFailed("s3 PutObject: SlowDown")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"now": "yes"}, "now must be true or false, not 'yes'"),
        ({"unreadable": "burn"}, "unreadable must be keep or delete, not 'burn'"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused(app: ModuleType, event: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        app.handler(event, CONTEXT)
    assert str(caught.value) == message


def test_a_quoted_line_break_is_part_of_its_row() -> None:
    text = b'user,item\n"u1","a\nb"\n"u2","c"\n'
    assert list(rows.records(io.BytesIO(text), is_quoted=True)) == [b"user,item\n", b'"u1","a\nb"\n', b'"u2","c"\n']
    assert len(list(rows.records(io.BytesIO(text), is_quoted=False))) == 4


@pytest.mark.parametrize("is_quoted", [True, False])
def test_a_row_that_never_ends_is_left_to_spark(is_quoted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAXIMUM_ROW_BYTES", 1 << 20)
    row = b'"' + b"a\n" * (1 << 20) if is_quoted else b"a" * (2 << 20)
    fits = row[: 1 << 20]
    assert list(rows.records(io.BytesIO(b"x\n" + fits), is_quoted)) == [b"x\n", fits]
    with pytest.raises(rows.ForSpark, match="has a row of more than 1048576 bytes"):
        list(rows.records(io.BytesIO(b"x\n" + row), is_quoted))


def test_golden_requests_that_are_none_have_no_ids() -> None:
    assert archive.ids_in_golden(b'[{"request": {"itemId": "a"}, "response": null}, 5]') == []


def test_what_is_in_use_is_told_with_its_reason() -> None:
    runs: Any = [{"runId": f"{NEW}-r1", "datasetVersion": NEW}]
    split: Any = {"runId": f"{OLD}-r1"}
    in_use = InUse.of(None, split, runs, [], None)
    assert in_use.runs == {
        f"{NEW}-r1": "its run is not over",
        f"{OLD}-r1": "it answers a part of the requests",
    }
    assert plan.run_in("training/other/model.tar.gz") is None


@pytest.mark.parametrize(
    ("user", "beginning", "line"),
    [
        ("Crème “7”", "user;item\n", "Crème “7”;tea".encode("cp1252")),
        ("Crème “7”", "user;item\nJosé;cup\n", "Crème “7”;tea".encode("cp1252")),
        ("Crème", "user;item\n", "Crème;tea".encode()),
        ("007", "user;item\n", b'="007";tea'),
        ("u1", "user;item\n", "\N{NO-BREAK SPACE}u1\t;tea".encode()),
    ],
)
def test_a_person_is_found_as_the_preparation_reads_them(user: str, beginning: str, line: bytes) -> None:
    head = beginning.encode("latin-1")
    layout = rows.layout_of(head, True, "a.csv")
    people = Forgotten(KEY, frozenset({digest(KEY, user)}))
    kept = rows.kept(io.BytesIO(head + line + b"\n"), layout, rows.interactions(layout, "user", people))
    assert b"".join(kept) == head
