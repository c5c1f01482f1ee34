"""Send a shop's events to the recommender: `python send_events.py < events.jsonl`, one JSON object a line.

    {"userId": "u7", "sessionId": "s1", "eventType": "view", "itemId": "p42", "sentAt": 1767225600}

API_URL is the API's address; credentials and region are those of the AWS SDK. After 429, 5xx or no answer, the same
body is sent again, three times at most; the event ids are the same, so no event counts twice.
"""

import itertools
import json
import os
import sys
import time
import uuid

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

MOST = 25  # events in one request
session, http = boto3.Session(), URLLib3Session(timeout=10)


def send(who: dict[str, str], events: list[dict[str, object]]) -> dict[str, object]:
    """Send at most 25 events of one person; return what was accepted and what was refused, with the reason."""
    body = json.dumps({**who, "eventList": [{"eventId": str(uuid.uuid4()), **event} for event in events]})
    for wait in (0.2, 1, 5, None):
        request = AWSRequest("POST", f"{os.environ['API_URL']}/events", {"Content-Type": "application/json"}, body)
        SigV4Auth(session.get_credentials(), "execute-api", session.region_name).add_auth(request)
        try:
            answer = http.send(request.prepare())
        except HTTPClientError:  # no answer
            if wait is None:
                raise
            time.sleep(wait)
            continue
        if answer.status_code not in (429, 500, 502, 503, 504) or wait is None:
            return {"status": answer.status_code, **json.loads(answer.content)}
        time.sleep(wait)
    raise AssertionError("the last wait is None")


if __name__ == "__main__":
    PERSON = ("userId", "sessionId")
    lines = [json.loads(line) for line in sys.stdin]
    for who, group in itertools.groupby(
        lines, key=lambda event: {name: event[name] for name in PERSON if name in event}
    ):
        events = [{name: value for name, value in event.items() if name not in PERSON} for event in group]
        for start in range(0, len(events), MOST):
            print(json.dumps(send(who, events[start : start + MOST])))
