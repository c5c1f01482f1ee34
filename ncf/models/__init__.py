"""One file for each kind of model. `ncf/interface.py` describes such a file; `ncf/registry.py` loads it."""
