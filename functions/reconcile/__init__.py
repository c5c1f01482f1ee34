"""Handles lost events: jobs that have ended, manifests without a run, executions that ended unnoticed."""
