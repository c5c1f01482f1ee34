"""The preparation's code is published under its own hash, and CloudFormation is always answered."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest

from delivery.preflight import settings
from publish_code import answer, package
from tests.unit.functions.cloud import ARTIFACTS, CONTEXT, Cloud, sample_event

DEFAULTS = dict(settings.read(Path(__file__).resolve().parents[3], "default").values)
IMAGE = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/ncf@sha256:" + "0" * 64
FILES = {"preprocess.py": b"import reading\n", "reading.py": b"x = 1\n", "manifest.schema.json": b"{}\n"}


class Listener:
    """A fake CloudFormation on loopback; it answers the first `refusals` calls with 503."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.refusals = 0
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if listener.refusals:
                    listener.refusals -= 1
                    self.send_response(503)
                else:
                    listener.heard.append(json.loads(body))
                    listener.content_types.append(self.headers["Content-Type"])
                    self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Stay silent."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/answer"


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    thread = Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The layer as Lambda mounts it: `preparation_code` on the path."""
    root = tmp_path / "preparation_code"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "reading.py").write_bytes(b"stale")
    (root / "Makefile").write_bytes(b"build:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return root


@pytest.fixture
def app(load: Callable[..., ModuleType], naps: list[float]) -> ModuleType:
    return load("publish_code")


def event(listener: Listener, kind: str = "Create") -> dict[str, Any]:
    return {**sample_event("publish_code"), "RequestType": kind, "ResponseURL": listener.url}


def test_the_same_files_make_the_same_bytes_in_any_order() -> None:
    one = package.build(FILES)
    other = package.build(dict(reversed(list(FILES.items()))))
    assert (one.version, one.archive) == (other.version, other.archive)
    assert package.build({**FILES, "reading.py": b"x = 2\n"}).version != one.version


def test_the_archive_holds_every_file() -> None:
    with zipfile.ZipFile(io.BytesIO(package.build(FILES).archive)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES


def test_publishes_the_layers_code_under_its_hash(
    app: ModuleType, cloud: Cloud, layer: Path, listener: Listener
) -> None:
    data = app.handler(event(listener), CONTEXT)
    version = package.build(FILES).version
    root = f"s3://{ARTIFACTS}/code/preparation/{version}"
    assert data == {
        "EntryPoint": f"{root}/preprocess.py",
        "PyFiles": f"{root}/preparation.zip",
        "CodeVersion": version,
    }
    entry = cloud.s3.get_object(Bucket=ARTIFACTS, Key=f"code/preparation/{version}/preprocess.py")["Body"].read()
    assert entry == FILES["preprocess.py"]
    sample = sample_event("publish_code")
    assert listener.heard == [
        {
            "Status": "SUCCESS",
            "PhysicalResourceId": "preparation-code",
            "StackId": sample["StackId"],
            "RequestId": sample["RequestId"],
            "LogicalResourceId": "PreparationCode",
            "Data": data,
        }
    ]
    assert listener.content_types == [""], "the signature of the URL covers an empty content type"


def test_an_update_keeps_the_physical_id(app: ModuleType, layer: Path, listener: Listener) -> None:
    app.handler({**event(listener, "Update"), "PhysicalResourceId": "made-before"}, CONTEXT)
    assert listener.heard[0]["PhysicalResourceId"] == "made-before"


def test_a_deletion_deletes_nothing_and_is_answered(
    app: ModuleType, cloud: Cloud, layer: Path, listener: Listener
) -> None:
    app.handler(event(listener), CONTEXT)
    app.handler(event(listener, "Delete"), CONTEXT)
    assert [heard["Status"] for heard in listener.heard] == ["SUCCESS", "SUCCESS"]
    assert cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="code/")["KeyCount"] == 2


def test_a_missing_layer_is_told_to_cloudformation(app: ModuleType, listener: Listener) -> None:
    app.handler(event(listener), CONTEXT)
    assert listener.heard[0]["Status"] == "FAILED"
    assert "MissingResource: the layer with the package preparation_code is not attached" in listener.heard[0]["Reason"]


def test_a_missing_variable_is_told_to_cloudformation(
    app: ModuleType, listener: Listener, layer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARTIFACTS_BUCKET")
    app.handler(event(listener), CONTEXT)
    assert listener.heard[0]["Status"] == "FAILED"
    assert "missing: ARTIFACTS_BUCKET" in listener.heard[0]["Reason"]


def test_a_bucket_that_refuses_is_told_to_cloudformation(
    app: ModuleType, cloud: Cloud, layer: Path, listener: Listener
) -> None:
    cloud.s3.delete_bucket(Bucket=ARTIFACTS)
    app.handler(event(listener), CONTEXT)
    assert listener.heard[0]["Status"] == "FAILED"
    assert "NoSuchBucket" in listener.heard[0]["Reason"]


def test_an_answer_that_was_not_taken_is_given_again(app: ModuleType, layer: Path, listener: Listener) -> None:
    listener.refusals = 3
    app.handler(event(listener), CONTEXT)
    assert len(listener.heard) == 1


def test_an_answer_that_is_never_taken_is_an_error(app: ModuleType, layer: Path, listener: Listener) -> None:
    listener.refusals = 4
    with pytest.raises(OSError, match="503"):
        app.handler(event(listener), CONTEXT)


def test_a_url_of_another_kind_is_not_opened(app: ModuleType, layer: Path, listener: Listener) -> None:
    with pytest.raises(ValueError, match=r"http\(s\)"):
        app.handler({**event(listener), "ResponseURL": "file:///etc/passwd"}, CONTEXT)


def test_a_long_reason_is_cut_to_what_cloudformation_takes() -> None:
    assert len(json.loads(answer.body({}, error="x" * 5000))["Reason"]) == 1000


def settings_event(listener: Listener, **values: str) -> dict[str, Any]:
    given = {**DEFAULTS, "ModelImageUri": IMAGE, **values}
    logical = {"ResourceType": "Custom::Settings", "LogicalResourceId": "Settings"}
    return {**event(listener), **logical, "ResourceProperties": {"ServiceToken": "arn", "Values": given}}


def test_each_change_of_a_parameter_is_a_revision_of_its_own(app: ModuleType, listener: Listener) -> None:
    given = settings_event(listener)
    app.handler(given, CONTEXT)
    app.handler({**given, "RequestType": "Update", "RequestId": "another"}, CONTEXT)
    assert [heard["Data"] for heard in listener.heard] == [{"Revision": given["RequestId"]}, {"Revision": "another"}]
    assert {heard["PhysicalResourceId"] for heard in listener.heard} == {"settings"}


@pytest.mark.parametrize("image", ["", "team/ncf:latest", IMAGE.partition("@")[0], IMAGE.replace("/ncf", "/ncf:1")])
def test_an_image_without_a_digest_fails_the_deployment(app: ModuleType, listener: Listener, image: str) -> None:
    assert app.handler(settings_event(listener, ModelImageUri=image), CONTEXT) == {}
    assert listener.heard[0]["Status"] == "FAILED"
    assert f"ModelImageUri names holds {image!r}, which is not an image in ECR" in listener.heard[0]["Reason"]


def test_parameters_that_do_not_go_together_fail_the_deployment_with_every_reason(
    app: ModuleType, listener: Listener
) -> None:
    together = {"EndpointInstanceType": "ml.c5.large", "BatchInstanceType": "ml.g4dn.xlarge"}
    assert app.handler(settings_event(listener, **together), CONTEXT) == {}
    reason = listener.heard[0]["Reason"]
    assert listener.heard[0]["Status"] == "FAILED"
    assert "is a host image for GPUs, and EndpointInstanceType ml.c5.large has none" in reason
    assert "Batch Transform has no host image for CUDA 13" in reason
