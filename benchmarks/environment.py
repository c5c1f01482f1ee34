"""Separate Python environments for the peers that the benchmarks compare with our code."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def python(name: str, requirements: Path, root: Path = PROJECT_ROOT) -> Path:
    """Return the interpreter of the environment `root`/.envs/`name`.

    The environment is built if it is missing, incomplete, or built from other requirements. The stamp is removed first
    and written last, so an environment with a stamp is complete. Raises subprocess.CalledProcessError if pip fails; pip
    prints the reason on stderr.
    """
    folder = root.resolve() / ".envs" / name
    interpreter, stamp = folder / "bin" / "python", folder / ".ready"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"set-up: installing {requirements} in {folder} (about two minutes, once)", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    venv.create(folder, clear=True, with_pip=True)
    install = [str(interpreter), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    # torch is installed separately: its pin selects a CPU build or several GB of CUDA (see docs/dependencies.md).
    torch = next(line for line in requirements.read_text().splitlines() if line.startswith("torch=="))
    subprocess.run([*install, torch, "--constraint", requirements], check=True, stdout=sys.stderr)
    subprocess.run([*install, "--no-deps", "--requirement", requirements], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return interpreter
