"""The endpoint's host can run the image: a driver that is too old for the image's CUDA fails only in the cloud.

The CUDA version of each host image comes from botocore's description of SageMaker; a driver runs every CUDA of its own
major version and of earlier ones (https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import botocore.session

Template = dict[str, Any]


def _cuda_of_hosts() -> dict[str, int]:
    """Major CUDA version by the name of the inference host image."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    words = model.shape_for("ProductionVariant").members["InferenceAmiVersion"].documentation
    found = re.findall(r"<dt>([a-z0-9-]+)</dt>(.*?)</dd>", words, re.DOTALL)
    versions = {name: re.search(r"CUDA version: (\d+)", text) for name, text in found}
    return {name: int(version.group(1)) for name, version in versions.items() if version}


def test_the_hosts_are_read_right() -> None:
    hosts = _cuda_of_hosts()
    assert hosts["al2-ami-sagemaker-inference-gpu-3-1"] == 12
    assert hosts["al2023-ami-sagemaker-inference-gpu-4-1"] == 13


def test_the_endpoints_host_has_a_driver_for_the_images_cuda(sam: Template, root: Path) -> None:
    base = re.search(
        r"^ARG BASE_IMAGE=\S+-cu(\d\d)\d-", (root / "container" / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    assert base, "the Dockerfile's base image does not say which CUDA it has"
    host = sam["Parameters"]["EndpointInferenceAmiVersion"]["Default"]
    assert _cuda_of_hosts()[host] >= int(base.group(1))
