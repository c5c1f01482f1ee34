"""Train on this machine in the same way as in a SageMaker training job, and compare the runs.

See `python -m training.launch --help`. Each run has a folder (see `launching/runs.py`). The training is a separate
process, the same as in SageMaker's container.

Exit status: 0 if the run is finished, 2 if the command was refused before any data was read, otherwise the status of
the training (143: stopped, and can be resumed).
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from contracts import documents
from contracts.lines import epoch_in
from contracts.names import DATASET_VERSION
from ncf.parameters import text_of
from training.hyperparameters import Hyperparameters, InvalidHyperparameter, known
from training.launching import runs, show
from training.launching.code import Code, code_in
from training.launching.hyperparameter_text import Refused, texts_of
from training.launching.process import STOPPED, Ended, Training
from training.launching.runs import BrokenIncumbent, NoSuchRun, Run

ROOT = Path(__file__).resolve().parents[1]
CODE = ("contracts", "ncf", "training", "serving", "container")
"""The folders whose code determines a model and its figures."""
COMMAND = (sys.executable, "-m", "container.job")
"""The training job of the container. It is started by its name, because training must not import the container."""
DERIVED = ("run_id", "dataset_version", "code_version")
"""Hyperparameters that cannot be given on the command line."""
REFUSED = 2
"""Exit status of a refused command."""
NO_VERSION = "v00000000t000000z-00000000"
"""Takes the place of the dataset's version while hyperparameters are checked, before any data is read."""
LAST_LINES = 12
"""Number of output lines that are shown after a failure without a reason."""


# --- The command line -------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(message)


def parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="python -m training.launch",
        usage="%(prog)s DATASET [--HYPERPARAMETER VALUE …] [--output FOLDER] [--name NAME] [--incumbent PATH]\n"
        "       %(prog)s --resume RUN\n"
        "       %(prog)s --list [FOLDER]\n"
        "       %(prog)s s3://… --sagemaker --role ARN --image URI --output s3://… [--wait] [--HYPERPARAMETER VALUE …]",
        description="Train a recommender on a dataset folder, store the run, and compare it with the other runs.",
        epilog="Ctrl-C stops a run; --resume continues it. emr/preprocess.py makes a dataset folder.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("dataset", nargs="?", metavar="DATASET", help="a dataset folder, which has a manifest.json")
    made.add_argument("--output", metavar="FOLDER", help="folder of the runs (default: runs)")
    made.add_argument("--name", help="name of the run, added to its number (default: the model)")
    made.add_argument(
        "--incumbent",
        metavar="PATH",
        help="a model to compare with: a model.tar.gz, a bundle's folder, or a finished run",
    )
    made.add_argument(
        "--resume", metavar="RUN", type=Path, help="continue a stopped run, with its dataset and hyperparameters"
    )
    made.add_argument(
        "--list", nargs="?", const="runs", metavar="FOLDER", type=Path, help="print a table of the runs in FOLDER"
    )
    cloud = made.add_argument_group(
        "on SageMaker", "One training job in your account; needs `pip install -r requirements/sagemaker.txt`."
    )
    cloud.add_argument(
        "--sagemaker", action="store_true", help="train on SageMaker; DATASET, --output and --incumbent are s3:// URIs"
    )
    cloud.add_argument("--role", metavar="ARN", help="ARN of the job's execution role")
    cloud.add_argument("--image", metavar="URI", help="URI of the image of container/Dockerfile, with its digest")
    cloud.add_argument("--instance-type", metavar="TYPE", help="default: ml.g4dn.xlarge")
    cloud.add_argument("--wait", action="store_true", help="show the job's log until it ends")
    group = made.add_argument_group("hyperparameters", "All values are checked before any data is read.")
    for name, parameter in known().items():
        if name not in DERIVED:
            meaning = f"{parameter.metadata['meaning']} Default: {text_of(parameter.default) or 'none'}.".replace(
                "%", "%%"
            )
            group.add_argument(
                f"--{name}",
                metavar="VALUE",
                default=argparse.SUPPRESS,
                help=meaning,
                dest=f"+{name}",
            )
    return made


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """Return the arguments, and the texts of the given hyperparameters. Raises Refused."""
    made = parser()
    arguments, unknown = made.parse_known_args(argv)
    for text in unknown:
        if not text.startswith("--"):
            raise Refused(f"{text!r} is one argument too many: give only one DATASET")
        name = text.removeprefix("--").split("=")[0]
        if name in DERIVED:
            raise Refused(f"hyperparameter {name} is derived from the dataset, the runs and the code: omit it")
        options = [option.removeprefix("--") for action in made._actions for option in action.option_strings]
        near = difflib.get_close_matches(name, options, n=1)
        raise Refused(f"hyperparameter {name} is not known" + (f"; did you mean {near[0]}?" if near else ""))
    given = {key[1:]: value for key, value in vars(arguments).items() if key.startswith("+")}
    if not arguments.sagemaker:
        for option in ("role", "image", "instance_type", "wait"):
            if getattr(arguments, option):
                raise Refused(f"--{option.replace('_', '-')} needs --sagemaker")
    return arguments, given


def check(given: dict[str, str], version: str = NO_VERSION, run_id: str = "", code: str = "unknown") -> Hyperparameters:
    """Return the given hyperparameters with the derived ones. Raises InvalidHyperparameter."""
    derived = {"run_id": run_id or f"{version}-r1", "dataset_version": version, "code_version": code}
    return Hyperparameters.read(derived | given)


# --- The dataset ------------------------------------------------------------------------------------------------------


def version_of(dataset: Path) -> str:
    """Return the version in the folder's manifest. Raises Refused, with the command that makes a dataset folder."""
    if str(dataset).startswith("s3:"):
        raise Refused(
            f"{dataset} is on S3: download it (aws s3 cp --recursive), or train on SageMaker with --sagemaker"
        )
    manifest = dataset / "manifest.json"
    if not manifest.is_file():
        fault = (
            "does not exist" if not dataset.exists() else "has no manifest.json" if dataset.is_dir() else "is a file"
        )
        raise Refused(f"{dataset} {fault}, but a dataset folder is needed. To make one:\n\n{preparation(dataset)}\n")
    try:
        version = documents.read_object(manifest.read_bytes(), "it")["datasetVersion"]
        if not DATASET_VERSION.fullmatch(version):
            raise ValueError(f"datasetVersion is {version!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{manifest} is not a manifest of emr/preprocess.py: {error!r}") from error
    return str(version)


def preparation(source: Path) -> str:
    """Return the commands, ready to be copied, that make a dataset from `source` and train on it."""
    marker = hashlib.sha256(str(source.absolute()).encode()).hexdigest()[:8]
    version = f"v{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{marker}"
    given = shlex.quote(str(source)) if source.exists() else "interactions.csv"
    return (
        f"  .venv/bin/python emr/preprocess.py --source {given} --output datasets --quarantine quarantine \\\n"
        f"    --dataset-version {version} --code-version local\n"
        f"  .venv/bin/python -m training.launch datasets/{version}"
    )


# --- A run ------------------------------------------------------------------------------------------------------------


def begin(arguments: argparse.Namespace, given: dict[str, str], code: Code) -> tuple[Path, Run]:
    """Create a new run and its folder. Raises Refused, InvalidHyperparameter or BrokenIncumbent before that."""
    model = check(given).model
    name = arguments.name or model
    if not runs.NAME.fullmatch(name):
        raise Refused(f"--name must be 1 to 40 letters, digits, dots and underscores, not {name!r}")
    if not arguments.dataset:
        raise Refused("DATASET is missing: give a folder with a manifest.json (see --help)")
    dataset, output = Path(arguments.dataset), Path(arguments.output or "runs")
    version = version_of(dataset)
    incumbent = Path(arguments.incumbent) if arguments.incumbent else None
    if incumbent:
        runs.find_incumbent(incumbent)
    run_id, folder = runs.create(output, version, name)
    run = Run(
        run_id=run_id,
        name=name,
        dataset=str(dataset.resolve()),
        dataset_version=version,
        hyperparameters=check(given, version, run_id, code.version).to_dict(),
        code_version=code.version,
        commit=code.commit,
        commit_modified=code.modified,
        incumbent=str(incumbent.resolve()) if incumbent else None,
        started_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    runs.save(folder, run)
    if incumbent:
        runs.place_incumbent(incumbent, folder)
    return folder, run


def resume(arguments: argparse.Namespace, given: dict[str, str], code: Code, console: Console) -> tuple[Path, Run]:
    """Return the run to resume, and its folder. Raises NoSuchRun, Refused or InvalidHyperparameter."""
    folder: Path = arguments.resume
    run = runs.load(folder)
    if run.status == runs.FINISHED:
        raise NoSuchRun(f"{folder} is finished: there is nothing to resume")
    recorded = texts_of(run.hyperparameters)
    before = Hyperparameters.read(recorded).to_dict()
    for name, value in Hyperparameters.read(recorded | given).to_dict().items():
        if value != before[name]:
            raise Refused(
                f"hyperparameter {name} is {text_of(before[name])} in {folder}, not {text_of(value)}: a resumed run "
                "keeps its hyperparameters"
            )
    if arguments.dataset and version_of(Path(arguments.dataset)) != run.dataset_version:
        raise Refused(
            f"{folder} was started with dataset {run.dataset_version}, and {arguments.dataset} is another one"
        )
    if arguments.dataset:
        run.dataset = str(Path(arguments.dataset).resolve())
    if arguments.incumbent and str(Path(arguments.incumbent).resolve()) != run.incumbent:
        raise Refused(f"{folder} was started with the incumbent {run.incumbent}, not with {arguments.incumbent}")
    version_of(Path(run.dataset))
    if run.code_version != code.version:
        show.say(console, f"the code has changed since {run.run_id} started: the new code is used", "[yellow]![/] ")
        run.code_version, run.commit, run.commit_modified = code.version, code.commit, code.modified
        run.hyperparameters["code_version"] = code.version
    run.status, run.reason, run.exit_status = runs.RUNNING, None, None
    return folder, run


def train(folder: Path, run: Run, console: Console) -> int:
    """Run the training in `folder`, show it, record its result, and return its exit status."""
    command = [*COMMAND]
    for name, text in texts_of(run.hyperparameters).items():
        command += [f"--{name}", text]
    show.say(console, f"{run.run_id} in {folder}: {run.model} on {run.dataset}", "[cyan]·[/] ")
    last: list[str] = []
    with (
        runs.held(folder),
        (folder / "train.log").open("a", encoding="utf-8", buffering=1) as log,
        show.progress(console, run.model) as shown,
    ):
        runs.save(folder, run)
        (folder / "output" / "failure").unlink(missing_ok=True)  # from before the run was resumed

        def on_line(line: str) -> None:
            log.write(line + "\n")
            last[:] = [*last[1 - LAST_LINES :], line]
            if epoch := epoch_in(line):
                run.learned(epoch)
            shown(line)

        def on_stop(times: int) -> None:
            text = "stopping after a checkpoint (Ctrl-C again: stop at once)" if times == 1 else "stopping at once"
            show.say(console, text, "[yellow]![/] ")

        try:
            ended = Training(command, environment(folder, run)).run(on_line, on_stop)
        except BaseException:
            run.status = runs.INTERRUPTED
            runs.save(folder, run)
            raise
        record(folder, run, ended)
    conclude(folder, run, ended, last, console)
    return ended.status or int(run.status == runs.FAILED)


def environment(folder: Path, run: Run) -> dict[str, str]:
    """Return the environment variables of a training job (`train.py`), with this run's folders."""
    places = {
        "SM_CHANNEL_DATASET": Path(run.dataset),
        "SM_MODEL_DIR": folder / "model",
        "SM_OUTPUT_DIR": folder / "output",
        "SM_OUTPUT_DATA_DIR": folder / "output" / "data",
        "SM_CHECKPOINT_DIR": folder / "checkpoints",
    }
    if run.incumbent:
        places["SM_CHANNEL_INCUMBENT"] = folder / "incumbent"
    own = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
    import_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return own | {"PYTHONPATH": import_path} | {name: str(path.resolve()) for name, path in places.items()}


def record(folder: Path, run: Run, ended: Ended) -> None:
    """Write the end of the process and the run's figures into run.json."""
    run.exit_status = ended.status
    run.seconds = round(run.seconds + ended.seconds, 3)
    run.cpu_seconds = round(run.cpu_seconds + ended.cpu_seconds, 3)
    run.peak_memory_bytes = max(run.peak_memory_bytes, ended.peak_memory_bytes)
    if ended.status == 0:
        try:
            run.measured(runs.report_of(folder))
            run.status = runs.FINISHED
        except NoSuchRun as error:
            run.status, run.reason = runs.FAILED, str(error)
    elif ended.status == STOPPED:
        run.status = runs.INTERRUPTED
    else:
        run.status, run.reason = runs.FAILED, reason_of(folder, ended)
    runs.save(folder, run)


def reason_of(folder: Path, ended: Ended) -> str:
    """Return the text of the failure file or, without one, a sentence about the exit status."""
    failure = folder / "output" / "failure"
    if failure.is_file():
        return failure.read_text(encoding="utf-8").strip()
    if ended.status == 128 + signal.SIGKILL:
        return "the training was killed by a second Ctrl-C, or by the system because memory ran out"
    return f"the training ended with exit status {ended.status} and gave no reason"


def conclude(folder: Path, run: Run, ended: Ended, last: Sequence[str], console: Console) -> None:
    """Show the end of the run; for a finished run, draw the curves and print the table."""
    if run.status == runs.INTERRUPTED:
        kept = any((folder / "checkpoints").glob("*"))
        where = f"after epoch {run.epochs[-1].epoch}" if run.epochs else "in its first epoch"
        show.say(
            console,
            f"stopped {where}; {'the checkpoint is written' if kept else 'no checkpoint is written yet'}. "
            "To continue, run the same command with",
            "[yellow]![/] ",
        )
        show.say(console, f"  --resume {shlex.quote(str(folder))}")
    elif run.status == runs.FAILED:
        if not (folder / "output" / "failure").is_file():
            for line in last:
                show.say(console, f"  {line}", style="dim")
        show.say(console, f"{run.reason}", "[red]✗[/] ")
        show.say(console, f"  the full output is in {folder / 'train.log'}")
    else:
        # The folder has only a copy for this training.
        shutil.rmtree(folder / "incumbent", ignore_errors=True)
        show.print_runs(console, folder.parent, newest=folder)
        show.print_difference(console, runs.report_of(folder))
        picture = draw(folder, run)
        memory = f"peak memory {run.peak_memory_bytes / 2**20:,.0f} MiB"
        show.say(console, f"{folder}: model/, run.json, {picture}", "[green]✓[/] ")
        show.say(console, f"  {run.seconds:.1f} s, processor time {run.cpu_seconds:.1f} s, {memory}")


def draw(folder: Path, run: Run) -> str:
    """Draw curves.png if the run has epochs. Return the file's name, or the reason why there is none."""
    if not run.epochs:
        return "no learning curve (the model has no epochs)"
    try:
        from training.launching import curves
    except ImportError:
        return "no picture (matplotlib is missing: pip install -r requirements/launch.txt)"
    assert run.figures is not None
    k = run.hyperparameters["evaluation_k"]
    curves.draw(
        folder / "curves.png",
        run.epochs,
        title=f"Learning curves: {run.model}, {run.run_id}",
        subtitle=f"final model on test: HR@{k} {run.figures['hitRate']:.4f}, NDCG@{k} {run.figures['ndcg']:.4f}; "
        f"full catalogue: HR@{k} {run.figures['fullHitRate']:.4f}, NDCG@{k} {run.figures['fullNdcg']:.4f}",
    )
    return "curves.png"


def main(argv: Sequence[str]) -> int:
    console = show.console()
    try:
        arguments, given = parse(argv)
        if arguments.list:
            if not arguments.list.is_dir():
                raise Refused(f"{arguments.list} is not a folder")
            show.print_runs(console, arguments.list)
            return 0
        if arguments.sagemaker:
            from training import launch_sagemaker

            return launch_sagemaker.launch(arguments, check(given), console)
        code = code_in(ROOT, CODE)
        folder, run = resume(arguments, given, code, console) if arguments.resume else begin(arguments, given, code)
        return train(folder, run, console)
    except (Refused, InvalidHyperparameter, NoSuchRun, BrokenIncumbent) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("stopped before the training began", file=sys.stderr)
        return STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
