"""The pins of a training's archives in a state."""

from __future__ import annotations

from typing import Any

import pytest

from shared.artefacts import Pin
from shared.errors import ArtefactChanged, InvalidInput
from shared.objects import Stored


@pytest.mark.parametrize("pin", [None, "etag", ["etag"], {}, {"etag": None}, {"etag": 7}, {"versionId": "v"}])
@pytest.mark.fault("R06")
def test_a_pin_that_names_no_object_is_refused(pin: Any) -> None:
    words = "training.modelData.etag must be a string: modelDataUrl was not there when the training ended"
    with pytest.raises(InvalidInput, match=words):
        Pin.from_state({"modelData": pin}, "modelData")
    with pytest.raises(InvalidInput, match=words):
        Pin.from_state({}, "modelData")


def test_a_pin_comes_back_from_the_state() -> None:
    for pin in (Pin("e"), Pin("e", "v")):
        assert Pin.from_state({"output": pin.to_state()}, "output") == pin


@pytest.mark.parametrize("found", [Stored(1, "f", b"", "v"), Stored(1, "e", b"", "w"), Stored(1, "e")])
@pytest.mark.fault("R06")
def test_another_content_or_version_is_not_the_pinned_one(found: Stored) -> None:
    with pytest.raises(ArtefactChanged, match="not ETag e and version v as at the training's end"):
        Pin("e", "v").require(found, "key")


def test_the_pinned_object_is_taken_whatever_was_read_of_it() -> None:
    Pin("e", "v").require(Stored(3, "e", b"abc", "v"), "key")
    with pytest.raises(ArtefactChanged, match="key has ETag f, not ETag e as at the training's end"):
        Pin("e").require(Stored(1, "f"), "key")
