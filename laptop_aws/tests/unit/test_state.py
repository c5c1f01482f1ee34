"""State that changes while it is saved is saved all the same."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from laptop_aws import registry, state


def test_a_dictionary_that_changes_all_the_time_is_saved() -> None:
    items: dict[str, Any] = {str(number): number for number in range(50_000)}
    is_over = threading.Event()

    def change() -> None:
        number = 0
        while not is_over.is_set():
            items[f"new {number}"] = number
            number += 1
            time.sleep(0)  # as a request that waits for its client

    thread, usual = threading.Thread(target=change), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        content = state._serialized("dynamodb", lambda: {key: items[key] for key in items})
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(usual)
    assert content is not None
    assert len(json.loads(content)["payload"]) >= 50_000


def test_what_could_not_be_read_is_saved_at_the_next_interval() -> None:
    def changing() -> Any:
        raise RuntimeError("dictionary changed size during iteration")

    registry.take_changed()
    assert state._serialized("dynamodb", changing) is None
    assert registry.take_changed()
