"""The handler for TorchServe; it answers one request at a time."""

import json
import os
from pathlib import Path
from typing import Any

from plain_model import PlainModel

_model: PlainModel | None = None


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes] | None:
    """TorchServe calls this first without data, to load the model; then with the requests of a batch."""
    global _model
    if _model is None:
        _model = PlainModel(Path(os.environ["BUNDLE"]))
    if data is None:
        return None
    answers = []
    for entry in data:
        body = entry.get("body") or entry.get("data")
        request = body if isinstance(body, dict) else json.loads(body or b"")
        answers.append(json.dumps(_model.answer(request)).encode())
    return answers
