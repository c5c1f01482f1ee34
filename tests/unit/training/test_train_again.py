"""A training that was stopped, failed or ran out of memory, and its next attempt."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ncf.fitting import loop
from tests.unit.training.test_train import OUTPUTS, Jobs
from training import train

pytestmark = pytest.mark.slow


def test_a_training_stopped_by_sigterm_and_resumed_gives_the_same_model(
    job: Jobs, shop_dataset: Path, tmp_path: Path
) -> None:
    whole = job(shop_dataset, name="whole", epochs=10, dropout=0.2, factors=8, mlp_layers="16,8")
    whole.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    whole.run_process()
    assert whole.status == 0
    imported = {line.rpartition("|")[2].strip() for line in whole.stderr.splitlines()}
    assert "torch.autograd" in imported
    assert "torch._dynamo" not in imported, "torch's compiler costs a training over a second and has no use in it"
    stopped = job(shop_dataset, name="stopped", epochs=10, dropout=0.2, factors=8, mlp_layers="16,8")
    process = stopped.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch=1/"):
            break
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "epoch=10/" not in rest
    assert list(stopped.model.iterdir()) == []
    assert not (stopped.root / "output" / "failure").exists()
    resumed = stopped.run_process()
    assert (resumed.status, resumed.stderr) == (0, "")
    assert "epoch=1/" not in resumed.stdout
    for name in OUTPUTS:
        again, first = resumed.output(name), whole.output(name)
        if name == "evaluation.json":  # the latency differs
            assert again.pop("serving").keys() == first.pop("serving").keys()
        assert again == first
    assert (resumed.model / "weights.safetensors").read_bytes() == (whole.model / "weights.safetensors").read_bytes()


def test_a_search_stopped_by_sigterm_goes_on_after_its_trials(job: Jobs, shop_dataset: Path) -> None:
    stopped = job(shop_dataset, model="als", search="8s", als_iterations=1)
    process = stopped.start()
    for line in process.stdout:
        if line.startswith("search: trial 2"):
            process.send_signal(signal.SIGTERM)
            break
    assert process.wait(timeout=500) == 143, process.stderr.read()
    assert not stopped.model.exists() or not any(stopped.model.iterdir())
    trials = len(json.loads((stopped.checkpoints / "search.json").read_text())["trials"])

    resumed = stopped.run_process()
    assert resumed.status == 0, resumed.stderr
    assert f"search: goes on after {trials} trials and " in resumed.stdout
    search = resumed.output("evaluation.json")["search"]
    assert trials < search["trials"] and search["seconds"] <= 60


def test_a_failure_while_writing_leaves_no_model(
    job: Jobs, shop_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        assert (done.model / "bundle.json").exists()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "_put", full)
    done = job(shop_dataset, epochs=1)
    assert done.run().status == 1
    assert list(done.model.iterdir()) == []
    assert done.failure().startswith("training stopped on an unexpected error: OSError: [Errno 28] No space left")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("failures", "status"), [(1, 0), (2, 1)])
def test_after_out_of_memory_one_more_attempt_has_half_the_batch(
    failures: int, status: int, job: Jobs, shop_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    real = loop.fit

    def short_of_memory(dataset: Any, architecture: Any, plan: Any, context: Any, **options: Any) -> Any:
        batches.append(plan.batch_size)
        if len(batches) <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(dataset, architecture, plan, context, **options)

    monkeypatch.setattr(loop, "fit", short_of_memory)
    done = job(shop_dataset, epochs=1, batch_size=100).run()
    assert done.status == status
    assert batches == [100, 50]
    assert "out of memory on cpu; trying once more with batch_size 50" in done.stderr
    if status:
        assert "with batch_size 100 and with 50: choose a larger instance" in done.failure()
