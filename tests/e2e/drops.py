"""Drops of the end-to-end tests: a generated shop, and the same shop with random items."""

import random
from pathlib import Path

from local import shop

SEED = 7


def shop_files(folder: Path, weeks: int) -> dict[str, bytes]:
    """The drop of a generated shop after `weeks` weeks: {file name: content}."""
    shop.write_shop(folder, seed=SEED, weeks=weeks, users=300)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shuffled_items(files: dict[str, bytes], seed: int = 1) -> dict[str, bytes]:
    """The same shop with every customer's items replaced by random ones, so that there is nothing to learn."""
    header, *rows = files["interactions.csv"].decode().splitlines()
    fields = [row.split(",") for row in rows]
    items = sorted({row[1] for row in fields})
    generator = random.Random(seed)
    noise = [",".join([row[0], generator.choice(items), *row[2:]]) for row in fields]
    return files | {"interactions.csv": "\n".join([header, *noise, ""]).encode()}
