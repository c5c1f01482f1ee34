"""The customer's key is on volumes and output where SageMaker takes it."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import request as deploying
from shared import volumes
from start_batch import plan as batches
from start_training import request as training
from tests.unit.functions.cloud import ARTIFACTS, DATA, IMAGE, RUN, VERSION

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("machine", "is_local"),
    [
        *((name, True) for name in ("g4dn.xlarge", "g5.2xlarge", "g6e.xlarge", "gr6.4xlarge", "p3dn.24xlarge")),
        *((name, True) for name in ("p4de.24xlarge", "p5en.48xlarge", "trn1n.32xlarge", "dl1.24xlarge", "m6id.large")),
        *((name, True) for name in ("c5d.xlarge", "r7gd.xlarge", "m5dn.large")),
        *((name, False) for name in ("m5.large", "c7i.xlarge", "p3.2xlarge", "inf2.xlarge", "t3.medium", "r6g.large")),
    ],
)
def test_machines_with_local_storage_have_no_key(machine: str, is_local: bool) -> None:
    """SageMaker refuses a key for them; the instance types are those of EC2's table "Instance store volumes"."""
    assert volumes.key_of(f"ml.{machine}", KEY) == ("" if is_local else KEY)
    assert volumes.key_of(f"ml.{machine}", "") == ""


def job(machine: str, key: str) -> dict[str, Any]:
    return training.create_training_job(
        training.Run(RUN, VERSION, 1), name_prefix="ncf", data_bucket=DATA, artifacts_bucket=ARTIFACTS,
        image_uri=IMAGE, role_arn="arn:aws:iam::1:role/r", instance_type=machine, use_spot=False,
        max_runtime_seconds=600, given_hyperparameters={}, kms_key_arn=key,
    )  # fmt: skip


def test_a_training_job_encrypts_its_output_and_its_volume() -> None:
    call = job("ml.m5.large", KEY)
    assert (call["OutputDataConfig"]["KmsKeyId"], call["ResourceConfig"]["VolumeKmsKeyId"]) == (KEY, KEY)
    call = job("ml.g4dn.xlarge", KEY)
    assert (call["OutputDataConfig"]["KmsKeyId"], "VolumeKmsKeyId" in call["ResourceConfig"]) == (KEY, False)
    assert "Kms" not in str(job("ml.m5.large", ""))


@pytest.mark.parametrize(("machine", "key"), [("ml.m5.large", KEY), ("ml.g4dn.xlarge", None)])
def test_an_endpoint_encrypts_its_volumes(machine: str, key: str | None) -> None:
    fleet = deploying.Fleet(machine, 1, "", KEY)
    assert deploying.create_endpoint_config("ncf", RUN, fleet).get("KmsKeyId") == key
    assert deploying.create_split_config("ncf", RUN, RUN, 10, fleet).get("KmsKeyId") == key
    assert "KmsKeyId" not in deploying.create_endpoint_config("ncf", RUN, deploying.Fleet(machine, 1))


def test_a_batch_encrypts_its_lists_and_its_volumes() -> None:
    call = batches.create_transform_job("job", "model", ARTIFACTS, "ml.m5.xlarge", 1, KEY, name_prefix="ncf")
    assert (call["TransformOutput"]["KmsKeyId"], call["TransformResources"]["VolumeKmsKeyId"]) == (KEY, KEY)
    call = batches.create_transform_job("job", "model", ARTIFACTS, "ml.g5.xlarge", 1, KEY, name_prefix="ncf")
    assert (call["TransformOutput"]["KmsKeyId"], "VolumeKmsKeyId" in call["TransformResources"]) == (KEY, False)
    assert "Kms" not in str(batches.create_transform_job("job", "model", ARTIFACTS, "ml.m5.xlarge", name_prefix="ncf"))
