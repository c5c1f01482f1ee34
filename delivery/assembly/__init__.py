"""Writes the files that AWS gets from the sources that people edit: `python -m delivery.assembly`."""
