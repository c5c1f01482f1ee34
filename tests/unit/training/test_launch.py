"""The command `python -m training.launch`: its refusals, the files of a run, and its output."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from contracts.lines import Epoch, epoch_in
from training import launch
from training.hyperparameters import Hyperparameters, known
from training.launching import runs, show
from training.launching.code import code_in, digest

pytestmark = pytest.mark.slow

ROOT = Path(launch.__file__).resolve().parents[1]
VERSION = "v20260102t030405z-0a1b2c3d"

REPORT: dict[str, Any] = {
    "datasetVersion": VERSION,
    "protocol": {"testUsers": 4, "k": 10, "negatives": 99, "seed": 42},
    "candidate": {"sampled": {"hitRate": 0.7, "ndcg": 0.4}, "full": {"hitRate": 0.1, "ndcg": 0.05}, "coverage": 0.3},
    "baselines": {
        "popularity": {
            "sampled": {"hitRate": 0.5, "ndcg": 0.2},
            "full": {"hitRate": 0.02, "ndcg": 0.01},
            "coverage": 0.1,
        }
    },
}

FAKE = """
import json, os, pathlib, signal, sys, time
places = {name: pathlib.Path(os.environ[name]) for name in
    ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_OUTPUT_DIR", "SM_CHECKPOINT_DIR")}
for place in places.values():
    place.mkdir(parents=True, exist_ok=True)
(places["SM_CHECKPOINT_DIR"].parent / "argv.json").write_text(json.dumps(sys.argv[1:]))
def stop(*_):
    (places["SM_CHECKPOINT_DIR"] / "checkpoint").write_text("half")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
begin = 1 + (places["SM_CHECKPOINT_DIR"] / "checkpoint").exists()
for epoch in range(begin, 4):
    print(f"epoch={epoch}/3 train_loss={1 / epoch:.4f} samples_per_second=1000 seconds=0.01", flush=True)
    if epoch == 1 and os.environ.get("FAKE") == "slow":
        time.sleep(60)
if os.environ.get("FAKE") == "fails":
    (places["SM_OUTPUT_DIR"] / "failure").write_text("the dataset is on fire\\n")
    sys.exit(1)
if os.environ.get("FAKE") == "killed":
    print("about to need much memory", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
(places["SM_OUTPUT_DATA_DIR"] / "evaluation.json").write_text(os.environ["FAKE_REPORT"])
print("evaluation hit_rate_at_10=0.7 ndcg_at_10=0.4 full_hit_rate_at_10=0.1 full_ndcg_at_10=0.05", flush=True)
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The only file of a dataset that the launcher reads itself."""
    folder = tmp_path / "datasets" / VERSION
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"datasetVersion": VERSION}))
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace train.py by a script with the same output. The returned function sets how the script ends."""
    script = tmp_path / "fake_train.py"
    script.write_text(FAKE)
    monkeypatch.setattr(launch, "COMMAND", (sys.executable, str(script)))
    monkeypatch.setenv("FAKE_REPORT", json.dumps(REPORT))
    return lambda ending: monkeypatch.setenv("FAKE", ending)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the output on standard error for `argv`, which must be refused."""
    assert launch.main(argv) == 2
    return capsys.readouterr().err


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--epochs", "0"], "hyperparameter epochs must be an integer from 1 to 1000, not '0'"),
        (["--model", "gpt"], "hyperparameter model must be one of"),
        (["--epoch", "5"], "hyperparameter epoch is not known; did you mean epochs?"),
        (["--learning-rate", "0.1"], "hyperparameter learning-rate is not known; did you mean learning_rate?"),
        (["--run_id", f"{VERSION}-r7"], "hyperparameter run_id is derived"),
        (["--epochs"], "argument --epochs: expected one argument"),
        (["--name", "../elsewhere"], "--name must be 1 to 40 letters"),
        (["--role", "arn"], "--role needs --sagemaker"),
        (["another"], "'another' is one argument too many"),
    ],
)
def test_refuses_an_invalid_argument_by_name_before_it_reads_any_data(
    argv: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "runs"
    assert reason in refusal(capsys, "/there/is/no/dataset", "--output", str(output), *argv)
    assert not output.exists()


def test_refuses_a_csv_file_with_the_commands_that_make_a_dataset_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ratings.csv").write_text("user_id,item_id,timestamp\n")
    message = refusal(capsys, str(tmp_path / "ratings.csv"))
    assert "is a file, but a dataset folder is needed" in message
    assert f".venv/bin/python emr/preprocess.py --source {tmp_path / 'ratings.csv'} --output datasets" in message


def test_refuses_an_invalid_incumbent_before_it_creates_a_run(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(
        capsys, str(dataset), "--output", str(tmp_path / "runs"), "--incumbent", str(tmp_path / "nowhere")
    )
    assert "is neither a model.tar.gz, nor a folder" in message
    assert not (tmp_path / "runs").exists()


def test_help_lists_every_hyperparameter_with_its_meaning_and_default() -> None:
    text = " ".join(launch.parser().format_help().split())
    for name, parameter in known().items():
        assert (f"--{name} VALUE" in text) == (name not in launch.DERIVED)
        if name not in launch.DERIVED:
            assert parameter.metadata["meaning"].split()[0] in text
    assert "Default: 42." in text


# --- Files of a run ---------------------------------------------------------------------------------------------------


def test_the_next_attempt_is_one_more_than_the_greatest_of_this_version(
    tmp_path: Path,
) -> None:
    for name in (f"{VERSION}-r1-neumf", f"{VERSION}-r9-my.try", "v20260102t030405z-ffffffff-r30-neumf", "notes"):
        (tmp_path / name).mkdir()
    assert runs.create(tmp_path, VERSION, "ease") == (f"{VERSION}-r10", tmp_path / f"{VERSION}-r10-ease")


def test_reads_only_the_epoch_lines_of_a_training() -> None:
    line = "epoch=3/20 train_loss=0.2345 samples_per_second=812345 seconds=1.24"
    assert epoch_in(line) == Epoch(3, 20, 0.2345, 812345.0, 1.24)
    assert epoch_in(f"{line} validation_ndcg=0.4321") == Epoch(3, 20, 0.2345, 812345.0, 1.24, 0.4321)
    assert epoch_in("epoch=3/20 train_loss=much samples_per_second=1 seconds=1") is None
    assert epoch_in("training neumf on cpu") is None


def test_run_json_has_figures_hyperparameters_time_and_memory(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_CHANNEL_INCUMBENT", "/left/over")
    assert launch.main([str(dataset), "--output", str(tmp_path / "runs"), "--epochs", "3", "--mlp_layers", "32,8"]) == 0
    folder = tmp_path / "runs" / f"{VERSION}-r1-neumf"
    kept = json.loads((folder / "run.json").read_text())
    assert kept["status"] == "finished"
    assert kept["figures"] == {"hitRate": 0.7, "ndcg": 0.4, "fullHitRate": 0.1, "fullNdcg": 0.05, "coverage": 0.3}
    assert (kept["runId"], kept["hyperparameters"]["mlp_layers"]) == (f"{VERSION}-r1", [32, 8])
    assert [epoch["epoch"] for epoch in kept["epochs"]] == [1, 2, 3]
    assert kept["seconds"] > 0 and kept["cpuSeconds"] > 0 and kept["peakMemoryBytes"] > 1_000_000
    argv = json.loads((folder / "argv.json").read_text())
    given = Hyperparameters.read({name[2:]: text for name, text in zip(argv[::2], argv[1::2], strict=True)})
    assert (given.run_id, given.chosen.epochs, given.chosen.mlp_layers) == (f"{VERSION}-r1", 3, (32, 8))
    assert (folder / "train.log").read_text().startswith("epoch=1/3 ")


def test_the_curves_are_a_picture_of_a_sensible_size(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None]
) -> None:
    assert launch.main([str(dataset), "--output", str(tmp_path / "runs")]) == 0
    picture = (tmp_path / "runs" / f"{VERSION}-r1-neumf" / "curves.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")
    assert 800 <= width <= 2000 and 500 <= height <= 2000
    assert 10_000 < len(picture) < 500_000


def test_the_incumbent_reaches_the_training_as_a_channel(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None]
) -> None:
    bundle = tmp_path / "earlier" / "model"
    bundle.mkdir(parents=True)
    (bundle / "bundle.json").write_text("{}")
    arguments, given = launch.parse([str(dataset), "--output", str(tmp_path), "--incumbent", str(bundle.parent)])
    folder, run = launch.begin(arguments, given, code_in(ROOT, launch.CODE))
    channel = Path(launch.environment(folder, run)["SM_CHANNEL_INCUMBENT"])
    listing = subprocess.run(["tar", "tzf", channel / "model.tar.gz"], capture_output=True, text=True, check=True)
    assert listing.stdout.split() == ["bundle.json"]


def test_the_hash_of_the_code_changes_only_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "train.py").write_text("1")
    before = digest(tmp_path, ["training"])
    (tmp_path / "training" / "notes.txt").write_text("2")
    (tmp_path / "elsewhere.py").write_text("2")
    assert digest(tmp_path, ["training"]) == before
    (tmp_path / "training" / "train.py").write_text("2")
    assert digest(tmp_path, ["training"]) != before


# --- Ends of a run ----------------------------------------------------------------------------------------------------


def test_a_failed_training_shows_its_reason_and_returns_its_exit_status(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    fake("fails")
    assert launch.main([str(dataset), "--output", str(tmp_path / "runs")]) == 1
    assert "✗ the dataset is on fire" in capsys.readouterr().out
    assert runs.load(tmp_path / "runs" / f"{VERSION}-r1-neumf").reason == "the dataset is on fire"


def test_a_killed_training_shows_its_last_lines(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    fake("killed")
    assert launch.main([str(dataset), "--output", str(tmp_path / "runs")]) == 137
    output = capsys.readouterr().out
    assert "about to need much memory" in output and "the training was killed" in output


def test_a_training_without_a_readable_evaluation_has_failed(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_REPORT", "{half")
    assert launch.main([str(dataset), "--output", str(tmp_path / "runs")]) == 1
    kept = runs.load(tmp_path / "runs" / f"{VERSION}-r1-neumf")
    assert kept.status == "failed" and "cannot be read" in (kept.reason or "")


def test_an_interrupted_training_can_be_resumed(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / f"{VERSION}-r1-neumf"
    fake("slow")
    threading.Thread(target=_interrupt_after_an_epoch, args=(folder,)).start()
    assert launch.main([str(dataset), "--output", str(tmp_path / "runs"), "--epochs", "3"]) == 143
    output = capsys.readouterr().out
    assert "stopped after epoch 1; the checkpoint is written" in output
    assert f"--resume {folder}" in output
    assert runs.load(folder).status == "interrupted"

    assert "hyperparameter epochs is 3 in" in refusal(capsys, "--resume", str(folder), "--epochs", "4")
    fake("")
    assert launch.main(["--resume", str(folder)]) == 0
    resumed = runs.load(folder)
    assert (resumed.run_id, resumed.status) == (f"{VERSION}-r1", "finished")
    assert [epoch.epoch for epoch in resumed.epochs] == [1, 2, 3]
    assert "is finished: there is nothing to resume" in refusal(capsys, "--resume", str(folder))


def test_a_run_interrupted_before_the_training_starts_can_be_resumed(
    dataset: Path, tmp_path: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(launch, "Training", interrupted)
        assert launch.main([str(dataset), "--output", str(tmp_path / "runs")]) == 143
    folder = tmp_path / "runs" / f"{VERSION}-r1-neumf"
    assert runs.load(folder).status == "interrupted"
    assert launch.main(["--resume", str(folder)]) == 0


def _interrupt_after_an_epoch(folder: Path) -> None:
    log, deadline = folder / "train.log", time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and "epoch=1/" in log.read_text()):
        time.sleep(0.02)
    # Not os.kill: in a process of many threads another one may get the signal, and the main one reads on.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with (
        runs.held(tmp_path),
        pytest.raises(runs.NoSuchRun, match="is being trained by another process"),
        runs.held(tmp_path),
    ):
        pass


# --- Output -----------------------------------------------------------------------------------------------------------


def finished(folder: Path, model: str, ndcg: float, seed: int = 42, version: str = VERSION) -> None:
    """Write a finished run with this NDCG."""
    (folder / "output" / "data").mkdir(parents=True)
    candidate = {**REPORT["candidate"], "sampled": {"hitRate": 0.5, "ndcg": ndcg}}
    report = REPORT | {
        "candidate": candidate,
        "datasetVersion": version,
        "protocol": REPORT["protocol"] | {"seed": seed},
    }
    (folder / "output" / "data" / "evaluation.json").write_text(json.dumps(report))
    run = runs.Run(
        run_id=f"{version}-r1",
        name=model,
        dataset="/data",
        dataset_version=version,
        hyperparameters={"model": model},
        code_version="test",
        status=runs.FINISHED,
    )
    run.measured(report)
    runs.save(folder, run)


def shown(output: Path) -> str:
    written = io.StringIO()
    console = Console(file=written, width=140)
    show.print_runs(console, output)
    return written.getvalue()


def test_the_table_has_the_best_ndcg_first_and_the_baselines_below_a_rule(tmp_path: Path) -> None:
    finished(tmp_path / f"{VERSION}-r1-gmf", "gmf", 0.2)
    finished(tmp_path / f"{VERSION}-r2-neumf", "neumf", 0.6)
    finished(tmp_path / f"{VERSION}-r3-ease", "ease", 0.4)
    lines = shown(tmp_path).splitlines()
    first = [line.split()[0] if line.strip() else "" for line in lines]
    rows = [word for word in first if word in ("r1-gmf", "r2-neumf", "r3-ease", "baseline")]
    assert rows == ["r2-neumf", "r3-ease", "r1-gmf", "baseline"]
    assert set(lines[first.index("baseline") - 1].strip()) == {"─"}


def test_runs_on_different_test_sets_are_not_ranked_together(tmp_path: Path) -> None:
    other = "v20260203t030405z-0a1b2c3d"
    finished(tmp_path / f"{VERSION}-r1-gmf", "gmf", 0.2)
    finished(tmp_path / f"{other}-r1-gmf", "gmf", 0.6, version=other)
    text = shown(tmp_path)
    assert f"dataset {VERSION}: 4 test users" in text and f"dataset {other}: 4 test users" in text


def test_shows_the_difference_to_the_incumbent_with_its_interval() -> None:
    written = io.StringIO()
    console = Console(file=written, width=140)
    show.print_difference(console, REPORT | {"difference": None})
    interval = {"mean": 0.0191, "lower": -0.0079, "upper": 0.0299}
    report = REPORT | {
        "incumbent": {"runId": f"{VERSION}-r1", "model": "gmf"},
        "difference": {"sampledNdcg": interval, "fullNdcg": interval, "confidence": 0.95},
    }
    show.print_difference(console, report)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.splitlines()[0] == f"against {VERSION}-r1 (gmf), user by user:"
    assert "  full NDCG@10 +0.0191, 95% between -0.0079 and +0.0299" in text


def test_the_table_warns_about_different_seeds(tmp_path: Path) -> None:
    finished(tmp_path / f"{VERSION}-r1-gmf", "gmf", 0.2)
    assert "different seeds" not in shown(tmp_path)
    finished(tmp_path / f"{VERSION}-r2-gmf", "gmf", 0.2, seed=7)
    assert "different seeds" in shown(tmp_path)


def test_runs_without_figures_are_listed_below(tmp_path: Path) -> None:
    finished(tmp_path / f"{VERSION}-r1-gmf", "gmf", 0.2)
    failed = runs.load(tmp_path / f"{VERSION}-r1-gmf")
    failed.status, failed.reason = runs.FAILED, "the dataset is on fire"
    runs.save(tmp_path / f"{VERSION}-r1-gmf", failed)
    assert f"without figures: {VERSION}-r1-gmf (failed: the dataset is on fire)" in shown(tmp_path)


# --- The whole command ------------------------------------------------------------------------------------------------


def test_the_command_trains_evaluates_and_lists_the_run(shop_dataset: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.launch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    argv = [str(shop_dataset), "--output", str(tmp_path / "runs"), "--epochs", "2", "--device", "cpu", "--model", "gmf"]
    done = subprocess.run([*command, *argv], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "runs" / f"{VERSION}-r1-gmf"
    assert "epoch 2/2  loss " in done.stdout and "r1-gmf" in done.stdout and "popularity" in done.stdout
    assert {path.name for path in folder.iterdir()} >= {"model", "output", "run.json", "curves.png", "train.log"}
    assert (folder / "model" / "bundle.json").is_file()
    kept, report = json.loads((folder / "run.json").read_text()), runs.report_of(folder)
    assert (report["runId"], report["codeVersion"]) == (f"{VERSION}-r1", kept["codeVersion"])
    assert kept["figures"]["ndcg"] == report["candidate"]["sampled"]["ndcg"]
    assert report["serving"]["answers"] >= 4, "measured by the server's code, as in the container"
