"""A faulty container never answers a customer: the earlier model continues to serve, and the ledger has the reason.

The candidate is trained and judged like any other (a server that cannot be loaded would fail its training). Only the
server in its image is broken: it ends at the start, or is healthy but answers nonsense.
"""

import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

from local import images
from tests.e2e.deployed_stack import DeployedStack, eventually
from tests.e2e.drops import shop_files

pytestmark = pytest.mark.timeout(1800)
PROJECT_ROOT = Path(__file__).resolve().parents[2]

ENDS_AT_ONCE = "raise SystemExit('this build is broken')\n"
ANSWERS_NONSENSE = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Nonsense(BaseHTTPRequestHandler):
    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = {"userId": "u", "itemList": [{"itemId": "nothing-we-sell", "score": 1.0}], "source": "personalized"}
        self.answer(json.dumps(answer | {"modelVersion": "?", "unknownItems": 0}).encode())


HTTPServer((os.environ["SERVING_HOST"], int(os.environ["SERVING_PORT"])), Nonsense).serve_forever()
"""


def image_with_server(stack: DeployedStack, folder: Path, server: str) -> str:
    """Registers a model image that trains as ours does and serves with `server`; returns its URI."""
    loaded, guard, _ = (PROJECT_ROOT / images.SERVE).read_text().partition('if __name__ == "__main__":\n')
    for part in images.FOLDERS:
        shutil.copytree(PROJECT_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / images.SERVE).write_text(loaded + guard + textwrap.indent(server, "    "))
    return images.build(folder, stack.state)


@pytest.fixture(scope="module")
def serving(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of the model that serves before the faulty ones."""
    if not stack.serving():
        version = stack.prepared_from("fit", shop_files(tmp_path_factory.mktemp("fit"), weeks=10))
        assert stack.ended(version)["status"] == "DEPLOYED"
    stack.allow_any_loss()
    return stack.serving()


@pytest.mark.parametrize(
    ("server", "reason"),
    [(ENDS_AT_ONCE, "rolled the update back"), (ANSWERS_NONSENSE, "golden")],
    ids=["never becomes healthy", "answers nonsense"],
)
@pytest.mark.fault("P13", "P14")
def test_an_unfit_endpoint_is_rolled_back_and_the_earlier_model_serves(
    stack: DeployedStack, serving: dict[str, Any], tmp_path: Path, server: str, reason: str
) -> None:
    before = stack.client("sagemaker").describe_endpoint(EndpointName=stack.outputs["EndpointName"])
    image = image_with_server(stack, tmp_path / "image", server)
    with stack.configured("start-training", MODEL_IMAGE_URI=image):
        [version] = stack.copies(serving["datasetVersion"], 1)
        run = stack.ended(version)
    assert run["status"] == "ROLLED_BACK", run
    assert reason in " ".join(run["reasons"]), run
    assert stack.decision(version, "gate")["verdict"] == "ACCEPTED", "the endpoint was faulty, not the model"
    assert stack.serving()["runId"] == serving["runId"]

    def back() -> bool:
        now = stack.client("sagemaker").describe_endpoint(EndpointName=stack.outputs["EndpointName"])
        return (now["EndpointStatus"], now["EndpointConfigName"]) == ("InService", before["EndpointConfigName"])

    eventually(back, "the earlier configuration in service")
    answer = stack.call("GET", "/users/nobody/recommendations")
    assert (answer.status, answer.body["model"]["version"]) == (200, serving["runId"])
    eventually(lambda: stack.item("LOCK", "DEPLOYMENT").get("runId") is None, "the deployment lock released")
