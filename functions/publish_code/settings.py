"""The custom resource `Settings`, which CloudFormation calls whenever a parameter of the stack changes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from contracts import parameters
from contracts.model_image import FORM, is_pinned
from shared.errors import InvalidInput


def attributes(values: Mapping[str, str], request_id: str, region: str) -> dict[str, str]:
    """The attributes: `Revision` is another one for each change. Raises InvalidInput for an image without a digest, and
    for parameters that do not go together.
    """
    image = values["ModelImageUri"]
    if not is_pinned(image):
        raise InvalidInput(
            f"the SSM parameter that ModelImageUri names holds {image!r}, which is not an image in ECR by its digest "
            f"({FORM}): write the digest of the built image there, and deploy again"
        )
    if found := list(parameters.faults(values, region)):
        raise InvalidInput("; ".join(found))
    return {"Revision": request_id}
