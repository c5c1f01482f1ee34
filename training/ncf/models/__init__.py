"""One file a model: see `ncf/interface.py`."""
