"""Finds what no event told: jobs that are over, manifests that no run knows of, executions that ended unnoticed."""
