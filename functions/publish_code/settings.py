"""The values of all parameters of the stack as one hash, which changes whenever one of them does. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from contracts.model_image import FORM, is_pinned
from shared.errors import InvalidInput


def attributes(values: Mapping[str, str]) -> dict[str, str]:
    """The attributes of the custom resource `Settings`. Raises InvalidInput for an image that has no digest."""
    image = values["ModelImageUri"]
    if not is_pinned(image):
        raise InvalidInput(
            f"the SSM parameter that ModelImageUri names holds {image!r}, which is not an image in ECR by its digest "
            f"({FORM}): write the digest of the built image there, and deploy again"
        )
    return {"Hash": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()}
