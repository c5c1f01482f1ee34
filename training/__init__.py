"""Training: fit a model, judge it, write its bundle (`train.py`); `launch.py` does so by hand."""
