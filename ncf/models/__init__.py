"""One file for each kind of model: see `ncf/interface.py` for what it holds, and `ncf/registry.py` for who reads it."""
