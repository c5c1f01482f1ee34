"""Python environments of the peers that benchmarks measure beside ours, apart from the project's own."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def python(name: str, requirements: Path, root: Path = PROJECT_ROOT) -> Path:
    """The interpreter of `root`/.envs/`name`, which is built when it is missing, half-built or of other requirements.

    The stamp is written last and removed first, so an environment that has one is whole. Raises
    subprocess.CalledProcessError when pip fails, which says why on stderr.
    """
    folder = root.resolve() / ".envs" / name
    interpreter, stamp = folder / "bin" / "python", folder / ".ready"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"set-up: what {requirements} names, in {folder} (about two minutes, once)", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    venv.create(folder, clear=True, with_pip=True)
    install = [str(interpreter), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    # torch by itself: its pin decides between a CPU build and several GB of CUDA (see docs/dependencies.md).
    torch = next(line for line in requirements.read_text().splitlines() if line.startswith("torch=="))
    subprocess.run([*install, torch, "--constraint", requirements], check=True, stdout=sys.stderr)
    subprocess.run([*install, "--no-deps", "--requirement", requirements], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return interpreter
