"""Ends a failed run, preparation, batch or rollback: stops its jobs, releases its lock, records the reason, notifies
once.
"""
