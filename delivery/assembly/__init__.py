"""Writes the files that AWS reads, from the sources that people edit: `python -m delivery.assembly`."""
