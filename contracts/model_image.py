"""The image that trains and serves: the SSM parameter that names it, and what such a name must be.

CloudFormation checks the keys of SSM parameters, never their values. So the parameter itself is written with PATTERN as
its allowed pattern, and the deployment asks again (`functions/publish_code/settings.py`).
"""

from __future__ import annotations

import re

PARAMETER = "/ncf/model-image"
PATTERN = r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9][a-z0-9._/-]*@sha256:[0-9a-f]{64}$"
FORM = "<account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<64 hex>"


def is_pinned(uri: str) -> bool:
    """True for an image in ECR, by its digest and no tag."""
    return re.fullmatch(PATTERN, uri) is not None
