"""Finds what would stop a deployment, before it costs anything: `python -m delivery preflight --environment prod`.

It reads the account and changes nothing. `settings` are what samconfig.toml and the template say, `account` is what the
account answers, `findings` is what both mean.
"""
