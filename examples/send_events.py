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

MOST, PERSON = 25, ("userId", "sessionId")
session, http = boto3.Session(), URLLib3Session(timeout=10)


def send(who: dict[str, str], events: list[dict[str, object]], waits: tuple[float, ...] = (0.2, 1, 5)) -> object:
    """Send at most MOST events of one person; return what was accepted and what was refused, with the reason."""
    body = json.dumps({**who, "eventList": [{"eventId": str(uuid.uuid4()), **event} for event in events]})
    for left in range(len(waits), -1, -1):
        request = AWSRequest("POST", f"{os.environ['API_URL']}/events", {"Content-Type": "application/json"}, body)
        SigV4Auth(session.get_credentials(), "execute-api", session.region_name).add_auth(request)
        try:
            answer = http.send(request.prepare())
            if not left or (answer.status_code != 429 and answer.status_code < 500):
                break
        except HTTPClientError:  # no answer
            if not left:
                raise
        time.sleep(waits[-left])
    return {"status": answer.status_code, **json.loads(answer.content)}


for who, group in itertools.groupby(
    map(json.loads, sys.stdin), lambda event: {name: event[name] for name in PERSON if name in event}
):
    events = [{name: value for name, value in event.items() if name not in who} for event in group]
    for start in range(0, len(events), MOST):
        print(json.dumps(send(who, events[start : start + MOST])))
