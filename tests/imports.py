"""Check the import rules of pyproject.toml with import-linter. In their lists, `{function}` stands for each function.

Exit status 1 when a rule is broken.
"""

import sys
from pathlib import Path
from typing import Any

from importlinter import cli
from importlinter.adapters.user_options import TomlFileUserOptionReader
from importlinter.application.app_config import settings
from importlinter.application.user_options import UserOptions

FUNCTIONS = sorted(path.parent.name for path in (Path(__file__).parents[1] / "functions").glob("*/app.py"))


class Reader(TomlFileUserOptionReader):
    """Reads pyproject.toml, and repeats a list's element that has `{function}` for each function."""

    def _read_config_filename(self, config_filename: str) -> UserOptions | None:
        options = super()._read_config_filename(config_filename)
        if options:
            for section in (options.session_options, *options.contracts_options):
                section.update({key: expanded(value) for key, value in section.items()})
        return options


def expanded(value: Any) -> Any:
    """`["{function}.*", "x"]` → `["deploy.*", "evaluate.*", …, "x"]`; what is no list stays as it is."""
    if not isinstance(value, list):
        return value
    return [
        element.replace("{function}", name)
        for element in value
        for name in (FUNCTIONS if "{function}" in element else [""])
    ]


if __name__ == "__main__":
    settings.configure(USER_OPTION_READERS={"toml": Reader()})
    sys.exit(cli.lint_imports(no_cache=True))
