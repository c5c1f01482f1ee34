"""Serving: a bundle's answers over HTTP (`serve.py`). It loads no code that fits models."""
