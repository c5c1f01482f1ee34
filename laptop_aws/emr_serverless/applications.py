"""Applications, to which job runs are submitted. Every transition is immediate."""

from __future__ import annotations

import time

from laptop_aws.emr_serverless import events
from laptop_aws.emr_serverless.store import arn, new_id, not_found, store
from laptop_aws.service_model import ServiceError, page, validation_error
from laptop_aws.store import Record, now, public

DEFAULT_PAGE = 50
_SUMMARY = ("name", "arn", "releaseLabel", "type", "state", "stateDetails", "createdAt", "updatedAt", "architecture")


def create(request: Record) -> Record:
    if request["type"].lower() != "spark":
        raise validation_error(f"Application type {request['type']!r} is not supported by the embedded AWS; SPARK is.")
    wanted = {name: value for name, value in request.items() if name != "clientToken"}
    with store.lock:
        for application in store.tables().applications.values():
            if application["_clientToken"] == request["clientToken"]:
                if application["_request"] != wanted:
                    raise ServiceError(
                        "ConflictException", "The client token was used before with other parameters", 409
                    )
                return _created(application)
        identifier, moment = new_id(), now()
        application = wanted | {
            "applicationId": identifier,
            "arn": arn(identifier),
            "type": "Spark",
            "architecture": request.get("architecture", "X86_64"),
            "autoStartConfiguration": {"enabled": True} | request.get("autoStartConfiguration", {}),
            "autoStopConfiguration": {"enabled": True, "idleTimeoutMinutes": 15}
            | request.get("autoStopConfiguration", {}),
            "createdAt": moment,
            "updatedAt": moment,
            "state": "CREATING",
            "stateDetails": "",
            "_clientToken": request["clientToken"],
            "_request": wanted,
        }
        store.tables().applications[identifier] = application
        answer = _created(application)
        snapshot = public(application)
    events.application_changed(snapshot)
    enter(identifier, "CREATED")
    return answer


def _created(application: Record) -> Record:
    return {"applicationId": application["applicationId"], "arn": application["arn"]} | (
        {"name": application["name"]} if "name" in application else {}
    )


def get(request: Record) -> Record:
    with store.lock:
        return {"application": public(find(request["applicationId"]))}


def list_applications(request: Record) -> Record:
    with store.lock:
        wanted = request.get("states") or []
        rows = [find(identifier) for identifier in list(store.tables().applications)]
        rows = [row for row in rows if (row["state"] in wanted if wanted else row["state"] != "TERMINATED")]
        rows.sort(key=lambda row: (row["createdAt"], row["applicationId"]))
        chosen, token = page(
            rows,
            request.get("nextToken"),
            request.get("maxResults", DEFAULT_PAGE),
            lambda row: str(row["applicationId"]),
        )
        summaries = [
            {"id": row["applicationId"]} | {name: row[name] for name in _SUMMARY if name in row} for row in chosen
        ]
    return {"applications": summaries} | ({"nextToken": token} if token else {})


def start(request: Record) -> Record:
    with store.lock:
        state = find(request["applicationId"])["state"]
    if state == "TERMINATED":
        raise validation_error(f"Application {request['applicationId']} is terminated and cannot be started")
    if state != "STARTED":
        enter(request["applicationId"], "STARTING")
        enter(request["applicationId"], "STARTED")
    return {}


def stop(request: Record) -> Record:
    identifier = request["applicationId"]
    with store.lock:
        state = find(identifier)["state"]
        if _active(identifier):
            raise validation_error(f"Application {identifier} has unfinished job runs and cannot be stopped")
    if state in ("STARTING", "STARTED"):
        enter(identifier, "STOPPING")
        enter(identifier, "STOPPED")
    return {}


def delete(request: Record) -> Record:
    identifier = request["applicationId"]
    with store.lock:
        state = find(identifier)["state"]
    if state not in ("CREATED", "STOPPED"):
        raise validation_error(
            f"Application {identifier} must be in state CREATED or STOPPED to be deleted; it is {state}"
        )
    enter(identifier, "TERMINATED")
    return {}


def update(identifier: str, members: Record) -> None:
    """Replaces the settings of an application that ``members`` has. Raises ServiceError."""
    with store.lock:
        application = find(identifier)
        application |= members | {"updatedAt": now()}


def find(identifier: str) -> Record:
    """Returns an application; stops it first if its idle timeout has passed. Raises ServiceError."""
    application = store.tables().applications.get(identifier)
    if application is None:
        raise not_found("Application", identifier)
    automatic = application["autoStopConfiguration"]
    idle_until = application.get("_lastUsed", application["updatedAt"]) + 60 * automatic.get("idleTimeoutMinutes", 15)
    if (
        application["state"] == "STARTED"
        and automatic["enabled"]
        and time.time() > idle_until
        and not _active(identifier)
    ):
        application |= {"state": "STOPPED", "updatedAt": now(), "stateDetails": "AUTO_STOPPING"}
    return application


def use(identifier: str) -> None:
    """Starts the application for a job run, as its automatic start allows. Raises ServiceError."""
    with store.lock:
        application = find(identifier)
        application["_lastUsed"] = now()
        state, automatic = application["state"], application["autoStartConfiguration"]["enabled"]
    if state == "TERMINATED" or (state != "STARTED" and not automatic):
        raise validation_error(f"Application {identifier} is in state {state}; it must be started to run jobs")
    if state != "STARTED":
        enter(identifier, "STARTING")
        enter(identifier, "STARTED")


def is_started(identifier: str) -> bool:
    """True if the application is there and started; stops it first if its idle timeout has passed."""
    with store.lock:
        return identifier in store.tables().applications and find(identifier)["state"] == "STARTED"


def _active(identifier: str) -> bool:
    return any(
        row["applicationId"] == identifier and row["state"] not in ("SUCCESS", "FAILED", "CANCELLED")
        for row in store.tables().job_runs.values()
    )


def enter(identifier: str, state: str) -> None:
    with store.lock:
        application = store.tables().applications[identifier]
        application |= {"state": state, "updatedAt": now(), "stateDetails": ""}
        snapshot = public(application)
    events.application_changed(snapshot)
