"""The Python environment of the peers, apart from the project's own: RecBole needs a NumPy older than the project's."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def python(root: Path) -> Path:
    """The interpreter of `root`/.envs/peers, which is built when it is missing, half-built or of other requirements.

    The stamp is written last and removed first, so an environment that has one is whole. Raises
    subprocess.CalledProcessError when pip fails, which says why on stderr.
    """
    folder = root.resolve() / ".envs" / "peers"
    interpreter, stamp = folder / "bin" / "python", folder / ".ready"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"set-up: RecBole and torch, in {folder} (about two minutes, once)", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    venv.create(folder, clear=True, with_pip=True)
    install = [interpreter, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    # torch by itself: its pin decides between a CPU build and several GB of CUDA (see docs/dependencies.md).
    torch = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("torch=="))
    subprocess.run([*install, torch, "--constraint", REQUIREMENTS], check=True, stdout=sys.stderr)
    subprocess.run([*install, "--no-deps", "--requirement", REQUIREMENTS], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return interpreter
