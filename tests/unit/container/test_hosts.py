"""A training job on several machines: two containers, each with its own /opt/ml, as two hosts on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from container import hosts as subject
from container.hosts import Hosts
from ncf.fitting.checkpoint import NAMES
from ncf.registry import kind_named

ROOT = Path(__file__).resolve().parents[3]
VERSION = "v20260102t030405z-0a1b2c3d"
NAMES_OF_HOSTS = ("127.0.0.1", "127.0.0.2")
SETTINGS = {
    "run_id": f"{VERSION}-r1",
    "dataset_version": VERSION,
    "code_version": "sha256:test",
    "device": "cpu",
    "factors": "8",
    "mlp_layers": "16,8",
    "start": "random",
    "fusion": "0",
    "recent_neighbours": "0",
}


# ---- the resource configuration --------------------------------------------------------------------------------------


def test_without_a_resource_configuration_the_host_is_alone() -> None:
    assert not Hosts.from_config({}).are_several


def test_every_host_numbers_the_hosts_alike() -> None:
    first = Hosts.from_config({"hosts": ["algo-1", "algo-2"], "current_host": "algo-2", "network_interface_name": "e"})
    again = Hosts.from_config({"hosts": ["algo-2", "algo-1"], "current_host": "algo-1"})
    assert (first.names, first.rank, again.names, again.rank) == (("algo-1", "algo-2"), 1, ("algo-1", "algo-2"), 0)
    assert first.variables() == {"GLOO_SOCKET_IFNAME": "e", "NCCL_SOCKET_IFNAME": "e"}
    assert again.variables() == {}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"hosts": [], "current_host": "a"}, r"hosts must be a list of names, not \[\]"),
        ({"current_host": "a"}, "hosts must be a list of names, not None"),
        ({"hosts": ["a", ""], "current_host": "a"}, "hosts must be a list of names"),
        ({"hosts": ["a", "a"], "current_host": "a"}, "hosts has a name twice: a, a"),
        ({"hosts": ["a", "b"], "current_host": "c"}, r"current_host must be one of hosts \(a, b\), not 'c'"),
        ({"hosts": ["a", "b"]}, "current_host must be one of hosts"),
        ({"hosts": ["a"], "current_host": "a", "network_interface_name": 0}, "network_interface_name must be a name"),
    ],
)
def test_an_inconsistent_list_of_hosts_is_refused_by_name(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Hosts.from_config(document)


def test_the_neural_models_train_together_and_closed_forms_do_not() -> None:
    assert [
        name for name in ("neumf", "gmf", "mlp", "als", "ease", "popularity") if kind_named(name).trains_together
    ] == [
        "neumf",
        "gmf",
        "mlp",
    ]


# ---- two containers --------------------------------------------------------------------------------------------------


class Job:
    """The containers of one job, in the order of the hosts."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self._folder, self._dataset = folder, dataset
        self.bases = [folder / name for name in NAMES_OF_HOSTS]
        self.processes: list[subprocess.Popen[str]] = []

    def lay_out(self, settings: dict[str, str], names: Sequence[str] = NAMES_OF_HOSTS) -> Job:
        for base, name in zip(self.bases, NAMES_OF_HOSTS, strict=True):
            config, data = base / "input" / "config", base / "input" / "data"
            config.mkdir(parents=True, exist_ok=True)
            data.mkdir(exist_ok=True)
            if not (data / "dataset").exists():
                (data / "dataset").symlink_to(self._dataset)
            resources = {"hosts": names, "current_host": name, "network_interface_name": "lo"}
            for file, content in (
                ("hyperparameters", settings),
                ("inputdataconfig", {"dataset": {}}),
                ("resourceconfig", resources),
            ):
                (config / f"{file}.json").write_text(json.dumps(content))
        return self

    def start(self, which: Sequence[int] = (0, 1), *script: str) -> Job:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MASTER_PORT": port}
        for number in which:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-P", *(script or ("-m", "container.train"))],
                    env={**os.environ, **variables, "SAGEMAKER_BASE_DIR": str(self.bases[number])},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
        return self

    def end(self, seconds: float = 300) -> list[tuple[int, str, str]]:
        """Return the status, stdout and stderr of each container."""
        ended = []
        for process in self.processes:
            stdout, stderr = process.communicate(timeout=seconds)
            ended.append((process.returncode, stdout, stderr))
        self.processes = []
        return ended

    def failure(self, number: int) -> str:
        return (self.bases[number] / "output" / "failure").read_text()

    def training_processes(self) -> list[int]:
        """Return the ids of the processes that train in these folders, by their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and f"SM_MODEL_DIR={self._folder}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return sorted(found)


@pytest.fixture
def job(tmp_path: Path, shop_dataset: Path) -> Iterator[Callable[..., Job]]:
    made: list[Job] = []

    def make(dataset: Path = shop_dataset) -> Job:
        made.append(Job(tmp_path / f"job-{len(made)}", dataset))
        return made[-1]

    yield make
    for each in made:
        for process in each.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def gone(job: Job, seconds: float = 60) -> bool:
    """True if no process of the job is left within so many seconds."""
    deadline = time.monotonic() + seconds
    while job.training_processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not job.training_processes()


@pytest.mark.slow
def test_two_hosts_train_one_model_as_good_as_one_host(
    job: Callable[..., Job], write: Callable[..., Path], checkerboard_pairs: Any, tmp_path: Path
) -> None:
    """On a checkerboard the withheld item ranks first, as with one process."""
    board = write(tmp_path / "board", checkerboard_pairs)
    settings = SETTINGS | {"epochs": "8", "batch_size": "64", "loss": "bce", "learning_rate": "0.05"}
    together = job(board).lay_out(settings | {"evaluation_k": "1"}).start()
    first, second = together.end()
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert first[1].count("epoch=8/8 ") == 1
    assert "epoch=" not in second[1], "only the first host reports"
    report = json.loads((together.bases[0] / "output" / "data" / "evaluation.json").read_text())
    assert report["candidate"]["full"]["hitRate"] == 1.0
    assert report["machines"] == 2
    assert (together.bases[0] / "model" / "bundle.json").exists()
    written = [
        path.name
        for folder in ("model", "output/data", "checkpoints")
        for path in (together.bases[1] / folder).iterdir()
    ]
    assert written == [], "only the first host writes"


@pytest.mark.slow
def test_two_stopped_hosts_resume_from_the_checkpoint_of_the_first(job: Callable[..., Job]) -> None:
    stopped = job().lay_out(SETTINGS | {"epochs": "1000", "batch_size": "256"}).start()
    stdout = stopped.processes[0].stdout
    assert stdout is not None
    next(line for line in stdout if line.startswith("epoch=2/"))
    for process in stopped.processes:
        process.send_signal(signal.SIGTERM)
    assert [status for status, *_ in stopped.end()] == [143, 143]
    assert gone(stopped)
    assert list((stopped.bases[0] / "model").iterdir()) == []
    for name in NAMES:  # as SageMaker does for the job's next start
        (stopped.bases[1] / "checkpoints" / name).write_bytes((stopped.bases[0] / "checkpoints" / name).read_bytes())
    again = stopped.start()
    stdout = again.processes[0].stdout
    assert stdout is not None
    first = next(line for line in stdout if line.startswith("epoch="))
    for process in again.processes:
        process.send_signal(signal.SIGTERM)
    ended = again.end()
    assert not first.startswith("epoch=1/"), first
    assert "starts from the beginning" not in ended[0][2]


@pytest.mark.slow
def test_a_host_that_dies_ends_the_job_with_a_clear_failure_and_no_orphan(job: Callable[..., Job]) -> None:
    dying = job().lay_out(SETTINGS | {"epochs": "1000", "batch_size": "256"}).start()
    stdout = dying.processes[0].stdout
    assert stdout is not None
    next(line for line in stdout if line.startswith("epoch=2/"))
    dying.processes[1].kill()  # as when its machine is lost: torchrun cannot end its process
    status, _, _ = dying.end()[0]
    assert status == 1
    assert dying.failure(0).startswith("another process of this training ended, or cannot be reached")
    assert gone(dying)


@pytest.mark.slow
def test_a_process_that_is_killed_is_named_with_its_host(job: Callable[..., Job]) -> None:
    dying = job().lay_out(SETTINGS | {"epochs": "1000", "batch_size": "256"}).start()
    stdout = dying.processes[0].stdout
    assert stdout is not None
    next(line for line in stdout if line.startswith("epoch=2/"))
    containers = {process.pid for process in dying.processes}
    of_second = [
        pid
        for pid in dying.training_processes()
        if pid not in containers and f"{dying.bases[1]}/model".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    os.kill(of_second[-1], signal.SIGKILL)
    assert [status for status, *_ in dying.end()] == [1, 1]
    assert dying.failure(1) == "the process that trains on host 127.0.0.2 ended by SIGKILL; its log says why\n"
    assert gone(dying)


MEET = """
import sys
from container import hosts, train
hosts.MEETING_SECONDS = 3
sys.exit(train.main())
"""


@pytest.mark.slow
def test_a_host_that_does_not_come_ends_the_job_with_a_clear_failure(job: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "meet.py").write_text(MEET)
    alone = job().lay_out(SETTINGS).start([0], str(tmp_path / "meet.py"))
    assert [status for status, *_ in alone.end()] == [1]
    assert alone.failure(0).startswith("host 127.0.0.1 did not meet the others (127.0.0.2) at 127.0.0.1:")
    late = job().lay_out(SETTINGS).start([1], str(tmp_path / "meet.py"))
    assert [status for status, *_ in late.end()] == [1]
    assert late.failure(1).startswith("host 127.0.0.2 did not meet the others (127.0.0.1) at 127.0.0.1:")


@pytest.mark.slow
def test_a_model_of_one_machine_is_trained_by_the_first_host_and_the_other_ends_at_once(
    job: Callable[..., Job],
) -> None:
    common = {name: value for name, value in SETTINGS.items() if name in ("run_id", "dataset_version", "code_version")}
    together = job().lay_out(common | {"model": "popularity"}).start()
    first, second = together.end()
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    note = "note: popularity is trained on one machine, 127.0.0.1; the other 1 of the job end now\n"
    assert second[1] == note
    assert first[1].startswith(note)
    assert (together.bases[0] / "model" / "bundle.json").exists()
    assert json.loads((together.bases[0] / "output" / "data" / "evaluation.json").read_text())["machines"] == 1
    assert not list((together.bases[1] / "model").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "names", "reason"),
    [
        (SETTINGS | {"surprise": "1"}, NAMES_OF_HOSTS, "hyperparameter surprise is not known"),
        (SETTINGS, ["127.0.0.2", "127.0.0.3"], "resourceconfig.json: current_host must be one of hosts"),
    ],
)
def test_each_host_refuses_wrong_input_with_its_reason(
    settings: dict[str, str], names: Sequence[str], reason: str, job: Callable[..., Job]
) -> None:
    refused = job().lay_out(settings, names).start([0])
    assert [status for status, *_ in refused.end()] == [1]
    assert refused.failure(0).startswith(reason)


def test_the_port_and_the_times_are_those_of_sagemaker() -> None:
    assert subject.STOP_SECONDS < 120, "SageMaker sends SIGKILL after 120 s"
