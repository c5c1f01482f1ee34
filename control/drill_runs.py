"""Causes the faults of `control.drills` on the embedded AWS, and observes what comes of them.

A drill is an action in the ledger. What it does later by itself, and what it saw, are further actions that name it, so
that a console that was started anew follows it on.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

from contracts import archives, documents, history, sources
from contracts.archives import BadArchive
from contracts.documents import Unfit
from contracts.names import DROP_FILE
from contracts.sources import Part
from control import api, drills, full_disk, lists
from control.actions import Action, Call, perform
from control.connection import Connection, NotReady
from control.drills import Drill, Observed, Seen
from control.ledger import UNFINISHED, Ledger, key_of, reasons_of
from control.lists import Options, Person
from control.spoiling import CannotSpoil, spoil

ACTION = "drill "
"""How the names of drills' actions begin; the drill's name follows."""
NEXT_STEP = "step of a drill"
LARGEST_DROP_BYTES = 64 << 20
LARGEST_PLAIN_BYTES = 1 << 30
WHY_NOT = (
    "Drills break things on purpose, so they run on the embedded AWS of this machine alone. On an account they would "
    "end real jobs, cost money and leave customers without answers. `make up`, then `make console`, gives a stack to "
    "break."
)


@dataclass(frozen=True)
class Begun:
    """A drill that was begun: the record of its action. `facts` has what the later steps added."""

    pk: str
    drill: Drill
    at: float
    """Epoch seconds."""
    who: str
    status: str
    facts: Mapping[str, Any]


def require_embedded(connection: Connection) -> None:
    """Raises NotReady, with the reason, on an account."""
    if not connection.is_embedded:
        raise NotReady(WHY_NOT)


def ledger_of(connection: Connection) -> Ledger:
    return Ledger(connection, connection.outputs["RunsTableName"])


# Beginning


def preparation(connection: Connection, drill: Drill, user_id: str = "") -> Action:
    """The action that begins a drill. `user_id` is the person whose list is asked for meanwhile. Raises
    NotReady if it cannot begin now, and says what to do.
    """
    require_embedded(connection)
    ledger = ledger_of(connection)
    serving = ledger.serving()
    if not serving:
        raise NotReady("No model serves yet, so there is nothing to break: `make demo` deploys one.")
    facts: dict[str, Any] = {"drill": drill.name, "servingBefore": serving["runId"]}
    match drill.name:
        case "worse-data":
            calls = _worse_data(connection, ledger, str(serving["datasetVersion"]), facts)
        case "duplicate-event":
            calls = _duplicate_event(connection, str(serving["datasetVersion"]), facts)
        case "killed-training":
            calls = (_next_attempt(connection, ledger, str(serving["datasetVersion"]), facts),)
        case "lost-callback":
            start = _next_attempt(connection, ledger, str(serving["datasetVersion"]), facts)
            # The start comes first: if it fails, the rule is still on.
            calls = (start, Call("events", "disable_rule", {"Name": rule_name(connection)}))
        case "dead-endpoint":
            calls = _dead_endpoint(connection, user_id, facts)
        case _:
            _idle(ledger)  # its steps would be refused too
            facts["userId"] = user_id
            calls = ()
    return Action(
        name=ACTION + drill.name,
        title=f"{drill.title}: begin the drill?",
        consequences=(drill.cause, f"Expected: {drill.end}", f"Afterwards: {drill.set_right}"),
        calls=calls,
        facts=facts,
    )


def _idle(ledger: Ledger) -> None:
    unfinished = [key_of(run) for run in ledger.of_kind("RUN") if run.get("status") in UNFINISHED]
    if unfinished:
        raise NotReady(f"Run {unfinished[0]} is under way: wait until it has ended, then begin the drill.")


def _next_attempt(connection: Connection, ledger: Ledger, version: str, facts: dict[str, Any]) -> Call:
    _idle(ledger)
    taken = history.taken_back_of(ledger.history(), version)
    if taken is not None:
        raise NotReady(f"{taken}. Its data are not trained on again without a reason: deploy another model first.")
    numbers = [int(run_id.rpartition("-r")[2]) for run_id in _runs_of(ledger, version)]
    attempt = 1 + max(numbers, default=0)
    facts["runId"] = f"{version}-r{attempt}"
    given = {
        "runId": facts["runId"],
        "datasetVersion": version,
        "attempt": attempt,
        "manifest": {"bucket": connection.outputs["DataBucketName"], "key": f"datasets/{version}/manifest.json"},
    }
    arn = connection.outputs["RetrainingStateMachineArn"]
    return Call(
        "stepfunctions",
        "start_execution",
        {"stateMachineArn": arn, "name": facts["runId"], "input": json.dumps(given)},
    )


def _runs_of(ledger: Ledger, version: str) -> list[str]:
    return [key_of(run) for run in ledger.of_kind("RUN", 1000) if key_of(run).rpartition("-r")[0] == version]


def _duplicate_event(connection: Connection, version: str, facts: dict[str, Any]) -> tuple[Call, ...]:
    bucket, key = connection.outputs["DataBucketName"], f"datasets/{version}/manifest.json"
    content = connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    facts |= {"version": version, "executions": len(_runs_of(ledger_of(connection), version))}
    return (Call("s3", "put_object", {"Bucket": bucket, "Key": key, "Body": content}),)


def _worse_data(connection: Connection, ledger: Ledger, version: str, facts: dict[str, Any]) -> tuple[Call, ...]:
    _idle(ledger)
    instead = "Use `python -m local demo --data <your data> --worse` instead."
    source = urlsplit(str(ledger.dataset(version).get("source", "")))
    s3, bucket, prefix = connection.client("s3"), source.netloc, source.path.lstrip("/")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []) if bucket and prefix else []
    names = {str(one["Key"])[len(prefix) :]: int(one["Size"]) for one in listed}
    parts = sources.parts(names)
    interactions = [name for name, part in parts.items() if part is Part.INTERACTIONS]
    if not interactions:
        raise NotReady(f"The data of {version} are not in raw/ any more. {instead}")
    if sum(names[name] for name in interactions) > LARGEST_DROP_BYTES:
        raise NotReady(f"The data have more than {LARGEST_DROP_BYTES >> 20} MiB, too many to copy here. {instead}")
    parameters = _parameters(s3, bucket, prefix + DROP_FILE) if DROP_FILE in names else {}
    if parameters.get("kind") == "append":
        raise NotReady(f"The last drop of {version} only appends to others. {instead}")
    target = f"raw/drill-{datetime.now(UTC):%Y%m%dt%H%M%Sz}/"
    facts["source"] = f"s3://{bucket}/{target}"
    calls = []
    for name in interactions:
        content = s3.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        calls.append(_put(bucket, target + name, _spoiled(content, name, parameters, instead)))
    kept = [name for name, part in parts.items() if part is Part.CATALOGUE or name == DROP_FILE]
    for name in kept:
        copied = {"Bucket": bucket, "Key": prefix + name}
        calls.append(Call("s3", "copy_object", {"Bucket": bucket, "Key": target + name, "CopySource": copied}))
    return (*calls, _put(bucket, f"{target}_SUCCESS", b""))


def _put(bucket: str, key: str, content: bytes) -> Call:
    return Call("s3", "put_object", {"Bucket": bucket, "Key": key, "Body": content})


def _parameters(s3: Any, bucket: str, key: str) -> dict[str, Any]:
    try:
        return documents.read_object(s3.get_object(Bucket=bucket, Key=key)["Body"].read(), key)
    except Unfit:
        return {}


def _spoiled(content: bytes, name: str, parameters: Mapping[str, Any], instead: str) -> bytes:
    packing = sources.compression_of(name)
    if packing not in (None, "gzip") or name.lower().endswith(sources.PARQUET_ENDING):
        raise NotReady(f"{name} cannot be copied here, only text and .gz. {instead}")
    try:
        plain = archives.unpack(content, LARGEST_PLAIN_BYTES) if packing else content
        made = spoil(plain, name, parameters, seed=1)
    except (CannotSpoil, BadArchive) as error:
        raise NotReady(f"{error}. {instead}") from error
    return gzip.compress(made) if packing else made


def _dead_endpoint(connection: Connection, user_id: str, facts: dict[str, Any]) -> tuple[Call, ...]:
    name = connection.outputs["EndpointName"]
    described = _endpoint(connection)
    if described.get("EndpointStatus") != "InService":
        status = described.get("EndpointStatus", "not there")
        raise NotReady(f"The endpoint {name} is {status}: this drill needs it in service.")
    status, source = _answer(connection, user_id)
    if source != "personalized":
        raise NotReady(f"The API answers {status} from “{source}” for {user_id or 'nobody'}: name a person it knows.")
    facts |= {"userId": user_id, "sourceBefore": source, "endpointConfig": described["EndpointConfigName"]}
    return (Call("sagemaker", "delete_endpoint", {"EndpointName": name}),)


# Following


def begun(connection: Connection) -> list[Begun]:
    """The last drill of each kind, with what its later steps added."""
    records = ledger_of(connection).of_kind("ACTION", 200)
    read = [(record, _facts(record)) for record in records]
    found: dict[str, Begun] = {}
    for record, facts in read:
        drill = drills.DRILLS.get(str(record.get("name", "")).removeprefix(ACTION))
        if drill is None or not str(record.get("name", "")).startswith(ACTION):
            continue
        at = _begun_at(str(record["pk"]))
        later = {
            name: value
            for _, other in sorted(read, key=lambda pair: str(pair[0]["pk"]))
            if other.get("drillOf") == record["pk"]
            for name, value in other.items()
        }
        one = Begun(
            str(record["pk"]), drill, at, str(record.get("who", "")), str(record.get("status")), {**facts, **later}
        )
        if drill.name not in found or found[drill.name].at < at:
            found[drill.name] = one
    return sorted(found.values(), key=lambda one: -one.at)


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return documents.read_object(str(record.get("facts", "")), "facts")
    except Unfit:
        return {}


def _begun_at(pk: str) -> float:
    """Epoch seconds from an action's key, `ACTION#<time>-…`."""
    text = pk.partition("#")[2].rpartition("-")[0]
    return datetime.strptime(text, "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC).timestamp()


def look(connection: Connection, drill: Begun) -> Seen:
    """Return how a drill stands; changes nothing. A drill that is over is not observed again, so that what comes later
    does not change what came of it.
    """
    if isinstance(ended := drill.facts.get("ended"), dict):
        return Seen(
            tuple((str(text), bool(done)) for text, done in ended["steps"]),
            str(ended["end"]),
            bool(ended["isAsExpected"]),
            needs_setting_right=needs_setting_right(connection, drill),
            reasons=tuple(ended["reasons"]),
        )
    return drills.judge(drill.drill, observe(connection, drill))


def follow(connection: Connection, drill: Begun, who: str) -> Seen:
    """Look at a drill, do what it does next, if that is due, and keep its end."""
    seen = look(connection, drill)
    if seen.due:
        perform(connection, _next(connection, drill, seen.due), who, f"{drill.drill.title}, a drill")
    if seen.is_as_expected is not None and "ended" not in drill.facts:
        ended = {
            "steps": seen.steps, "end": seen.end, "isAsExpected": seen.is_as_expected, "reasons": seen.reasons[:5]
        }  # fmt: skip
        perform(connection, _note(drill, {"ended": ended}), who, f"{drill.drill.title}, a drill")
    return seen


def _note(drill: Begun, facts: Mapping[str, Any], calls: Iterable[Call] = ()) -> Action:
    return Action(NEXT_STEP, drill.drill.title, (), tuple(calls), facts={"drillOf": drill.pk, **facts})


def _next(connection: Connection, drill: Begun, due: str) -> Action:
    if due == "stop":
        name = f"{connection.name_prefix}-{drill.facts['runId']}"
        return _note(drill, {}, (Call("sagemaker", "stop_training_job", {"TrainingJobName": name}),))
    if due == "fill":
        # While the disk is full nothing can be recorded, so the record comes afterwards.
        require_embedded(connection)
        user_id = str(drill.facts.get("userId", ""))
        found = full_disk.shortage(
            connection, lambda: bool(ledger_of(connection).serving()), lambda: _answer(connection, user_id)
        )
        return _note(drill, {"shortage": found})
    return _note(drill, {"wasLost": _is_waiting(connection, drill)}, _rule_on(connection))


def _rule_on(connection: Connection) -> tuple[Call, ...]:
    function = f"{connection.name_prefix}-reconcile"
    return (
        Call("events", "enable_rule", {"Name": rule_name(connection)}),
        Call("lambda", "invoke", {"FunctionName": function, "InvocationType": "Event", "Payload": b"{}"}),
    )


def needs_setting_right(connection: Connection, drill: Begun) -> bool:
    """True if what the drill broke is still broken."""
    if drill.drill is drills.DEAD_ENDPOINT:
        return not _endpoint(connection)
    return drill.drill is drills.LOST_CALLBACK and not is_rule_on(connection)


def setting_right(connection: Connection, drill: Begun) -> Action:
    """The action that sets right what a drill broke. Raises NotReady if there is nothing to set right."""
    require_embedded(connection)
    if drill.drill is drills.DEAD_ENDPOINT:
        name, config = connection.outputs["EndpointName"], str(drill.facts["endpointConfig"])
        calls: tuple[Call, ...] = (
            Call("sagemaker", "create_endpoint", {"EndpointName": name, "EndpointConfigName": config}),
        )
        words = f"The endpoint {name} is created again with {config}; in service after some seconds."
    elif drill.drill is drills.LOST_CALLBACK:
        calls = _rule_on(connection)
        words = "The rule tells of ended training jobs again, and reconcile answers what was missed."
    else:
        raise NotReady(drill.drill.set_right)
    return Action("set right", f"{drill.drill.title}: set right?", (words,), tuple(calls), facts={"setRight": drill.pk})


# Observing


def observe(connection: Connection, drill: Begun) -> Observed:
    """Observe a drill now. Raises what boto3 raises."""
    ledger, facts = ledger_of(connection), drill.facts
    seen: dict[str, Any] = {
        "seconds": time.time() - drill.at,
        "serving_before": str(facts.get("servingBefore", "")),
        "serving_now": str(ledger.serving().get("runId", "")),
    }
    match drill.drill.name:
        case "worse-data":
            seen |= _dataset(ledger, str(facts["source"]))
        case "duplicate-event":
            version = str(facts["version"])
            seen |= {
                "executions_before": int(facts["executions"]),
                "executions_now": len(_runs_of(ledger, version)),
                "handled": _handled(connection, drill.at),
            }
        case "dead-endpoint":
            status, source = _answer(connection, str(facts["userId"]))
            seen |= {
                "endpoint_status": str(_endpoint(connection).get("EndpointStatus", "")),
                "source_before": str(facts["sourceBefore"]),
                "answer_status": status,
                "answer_source": source,
            }
        case "full-disk":
            seen |= full_disk.observed(facts.get("shortage"))
        case _:
            seen |= _run(ledger, str(facts["runId"])) | _job(connection, str(facts["runId"]))
            seen |= {
                "is_waiting": _is_waiting(connection, drill),
                "was_lost": bool(facts.get("wasLost")),
                "is_rule_on": is_rule_on(connection),
            }
    return Observed(**seen)


def _dataset(ledger: Ledger, source: str) -> dict[str, Any]:
    found = next((one for one in ledger.of_kind("DATASET") if str(one.get("source", "")) == source), None)
    if found is None:
        return {}
    status = {"dataset_status": str(found.get("status", "")), "reasons": tuple(reasons_of(found))}
    return status | (_run(ledger, str(found["runId"])) if found.get("runId") else {})


def _run(ledger: Ledger, run_id: str) -> dict[str, Any]:
    run = ledger.run(run_id)
    notices = ledger.client.query(
        TableName=ledger.name,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={
            name: TypeSerializer().serialize(value) for name, value in ((":pk", f"RUN#{run_id}"), (":sk", "NOTICE#"))
        },
    )
    return {
        "run_id": run_id,
        "run_status": str(run.get("status", "")),
        "reasons": tuple(reasons_of(run)),
        "notices": int(notices["Count"]),
    }


def _job(connection: Connection, run_id: str) -> dict[str, Any]:
    try:
        job = connection.client("sagemaker").describe_training_job(TrainingJobName=f"{connection.name_prefix}-{run_id}")
    except ClientError as error:
        if _is_absent(error):
            return {}
        raise
    ended = job.get("TrainingEndTime")
    since = max(0.0, time.time() - ended.timestamp()) if ended is not None else 0.0
    return {"job_status": str(job["TrainingJobStatus"]), "seconds_since_job": since}


def _is_waiting(connection: Connection, drill: Begun) -> bool:
    name = f"{connection.name_prefix}-{drill.facts['runId']}"
    return any(one.get("jobName") == name for one in ledger_of(connection).of_kind("TOKEN"))


def rule_name(connection: Connection) -> str:
    """The rule that tells on_job_finished of ended training jobs."""
    return f"{connection.name_prefix}-training-job-state"


def is_rule_on(connection: Connection) -> bool:
    rule = connection.client("events").describe_rule(Name=rule_name(connection))
    return bool(rule.get("State") == "ENABLED")


def _handled(connection: Connection, since: float) -> int:
    """How often on_data_ready has ended since."""
    found = connection.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{connection.name_prefix}-on-data-ready",
        startTime=int(since * 1000),
        filterPattern='"END RequestId"',
    )
    return len(found["events"])


def _endpoint(connection: Connection) -> dict[str, Any]:
    try:
        return dict(connection.client("sagemaker").describe_endpoint(EndpointName=connection.outputs["EndpointName"]))
    except ClientError as error:
        if _is_absent(error):
            return {}
        raise


def _is_absent(error: ClientError) -> bool:
    message = str(error.response["Error"].get("Message", ""))
    return "Could not find" in message or "not found" in message.lower() or "does not exist" in message


def _answer(connection: Connection, user_id: str) -> tuple[int, str]:
    """Status and source of the API's answer for a person; 0 if there is none."""
    request = lists.request_for(connection, Person(user_id or "nobody"), Options(number=5))
    try:
        answer = api.call(connection, request)
    except api.Unanswered:
        return 0, ""
    return answer.status, str(answer.body.get("source", "")) if isinstance(answer.body, dict) else ""
