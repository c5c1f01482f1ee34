"""From the training to the container: the real training writes, the functions judge, register and deploy, and the real
server loads. It refuses an archive that was replaced after all of them had looked.
"""

from __future__ import annotations

import shutil
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from container.job import measure_serving
from ncf import bundle as bundles
from ncf.bundle import WEIGHTS
from ncf.ranking import rank
from serving import serve
from tests.unit.functions.cloud import ARTIFACTS, JOB, MODEL_URL, OUTPUT_URL, RUN, VERSION
from tests.unit.functions.conftest import cloud, lender, load, variables
from tests.unit.functions.test_whole_run import Platform, platform
from tests.unit.ncf.datasets import shop, write_dataset
from tests.unit.serving.test_serve import refused, reseal, serving
from training import train

__all__ = ["cloud", "lender", "load", "platform", "variables"]  # fixtures

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a finished training: `model` has the bundle, `data` what becomes output.tar.gz."""
    environment = {
        "SM_CHANNEL_DATASET": str(write_dataset(tmp_path / "dataset", shop(), version=VERSION)),
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "SM_OUTPUT_DATA_DIR": str(tmp_path / "data"),
    }
    parameters = {"run_id": RUN, "dataset_version": VERSION, "code_version": "c", "model": "als", "device": "cpu"}
    argv = [text for name, value in parameters.items() for text in (f"--{name}", value)]
    handler = signal.getsignal(signal.SIGTERM)
    assert train.main(argv, environment, measure_serving) == 0
    signal.signal(signal.SIGTERM, handler)
    return tmp_path


def packed(folder: Path) -> bytes:
    """The archive of a folder, as SageMaker writes it."""
    archive = folder.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
    return archive.read_bytes()


def served(platform: Platform, folder: Path) -> Path:
    """The bundle in the archive that the container would fetch now, unpacked into `folder`."""
    bucket, _, key = platform.aws.models[JOB]["PrimaryContainer"]["ModelDataUrl"].removeprefix("s3://").partition("/")
    archive = folder.with_suffix(".tar.gz")
    archive.write_bytes(platform.cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    bundles.extract(archive, folder)
    return folder


def forge(model: Path) -> None:
    """Change the factors of every user but those of the golden requests, and describe the members as they are now."""
    bundle = bundles.load(model)
    golden = {bundle.user_index.get(case["request"].get("userId")) for case in bundle.golden}
    weights = safetensors.torch.load_file(model / WEIGHTS)
    users = next(tensor for tensor in weights.values() if len(tensor) == len(bundle.user_index))
    for user in set(range(len(users))) - golden:
        users[user] = -users[user]
    safetensors.torch.save_file(weights, model / WEIGHTS)
    reseal(model)
    serve.load(model)  # without the digest, nothing tells it from the judged one


@pytest.mark.fault("R06")
def test_the_server_loads_the_judged_bundle_and_no_other(
    platform: Platform, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, model = (url.removeprefix(f"s3://{ARTIFACTS}/") for url in (OUTPUT_URL, MODEL_URL))
    judged = bundles.load(trained / "model")
    monkeypatch.setattr(platform.apps["verify"], "_ask", lambda request, variant: (rank(judged, request), "cpu"))
    platform.cloud.write(ARTIFACTS, output, packed(trained / "data"))
    platform.cloud.write(ARTIFACTS, model, packed(trained / "model"))
    platform.cloud.write(
        ARTIFACTS, "policy/gate.json", {"minimumTestUsers": 2, "baselineGains": {"others": {"fullNdcg": -1}}}
    )
    assert platform.run().status == "SUCCEEDED", platform.cloud.item(f"RUN#{RUN}")

    environment: dict[str, Any] = platform.aws.models[JOB]["PrimaryContainer"]["Environment"]
    with serving(served(platform, tmp_path / "first"), **environment) as (_, line):
        assert (line["message"], line["modelVersion"]) == ("serving", RUN)

    forged = Path(shutil.copytree(trained / "model", tmp_path / "forged"))
    forge(forged)
    platform.cloud.write(ARTIFACTS, model, packed(forged))
    status, line = refused(served(platform, tmp_path / "second"), **environment)
    assert (status, line["level"]) == (1, "ERROR")
    assert f"not {judged.digest}, which was judged" in line["message"]
