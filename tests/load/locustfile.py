"""Load on the HTTP API, with checks of the answers, not only of their status.

    make load                       against the stack of `make up`, once a model is deployed there (`make demo`)
    LOAD_USERS=users.txt .envs/load/bin/locust -f tests/load/locustfile.py --host https://<id>.execute-api.<region>…

LOAD_USERS is a file with a user id a line; without it, the users are 1 to 600, and unknown users are answered too.
Requests are signed for `execute-api` with the credentials of the environment; AWS_REGION says which region.
"""

import json
import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from locust import FastHttpUser, between, task

NUMBER = 10
SESSION = Session()
REGION = os.environ.get("AWS_REGION") or "us-east-1"


def known_users() -> list[str]:
    path = os.environ.get("LOAD_USERS")
    users = Path(path).read_text(encoding="utf-8").split() if path else [str(user) for user in range(1, 601)]
    if not users:
        raise SystemExit(f"LOAD_USERS: {path} holds no user id")
    return users


USERS = known_users()


class Customer(FastHttpUser):
    """A customer who asks for their list, for items related to one of it, and for a ranking."""

    wait_time = between(0.1, 1.0)

    def on_start(self) -> None:
        self.items: list[str] = []

    @task(8)
    def recommendations(self) -> None:
        user = quote(random.choice(USERS), safe="")
        body = self.ask("GET", f"/users/{user}/recommendations", {"numResults": str(NUMBER)}, "recommendations")
        if body:
            self.items = [entry["itemId"] for entry in body["itemList"]]

    @task(2)
    def related(self) -> None:
        if self.items:
            item = random.choice(self.items)
            path = f"/items/{quote(item, safe='')}/related"
            self.ask("GET", path, {"numResults": str(NUMBER)}, "related", without=item)

    @task(2)
    def ranking(self) -> None:
        if self.items:
            request = random.sample(self.items, len(self.items))
            self.ask("POST", "/rankings", {}, "rankings", {"userId": random.choice(USERS), "inputList": request})

    def ask(
        self, method: str, path: str, query: dict[str, str], name: str, body: Any = None, without: str | None = None
    ) -> Any:
        """The answer, or None after a failure that says what was wrong with it."""
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(method, url, data=data, headers={"Content-Type": "application/json"} if data else {})
        SigV4Auth(SESSION.get_credentials(), "execute-api", REGION).add_auth(request)
        with self.client.request(
            method, url, name=name, data=data, headers=dict(request.headers), catch_response=True
        ) as response:
            problem = wrong_with(response, body, without)
            if problem:
                response.failure(problem)
                return None
            response.success()
            return response.json()


def wrong_with(response: Any, request: Any, without: str | None) -> str | None:
    """The fault of an answer; None if it has none."""
    if response.status_code != 200:
        return f"status {response.status_code}"
    try:
        body = response.json()
        listed = body["itemList"] if request is None else body["personalizedRanking"]
        items, scores = [entry["itemId"] for entry in listed], [entry["score"] for entry in listed]
        source, version = body["source"], body["model"]["version"]
    except (ValueError, KeyError, TypeError) as error:
        return f"not the documented answer: {type(error).__name__} {error}"
    if source not in ("personalized", "related", "popular") or not version:
        return f"source {source!r}, version {version!r}"
    if len(set(items)) != len(items) or without in items:
        return "an unexpected item, or one item twice"
    if scores != sorted(scores, reverse=True):
        return "not best first"
    if request is not None and not set(items) <= set(request["inputList"]):
        return "an item that was not in the request"
    if request is None and not 1 <= len(items) <= NUMBER:
        return f"{len(items)} items"
    return None
