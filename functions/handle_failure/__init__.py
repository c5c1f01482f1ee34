"""Ends a failed run, preparation or batch: its jobs stopped, its lock given back, why in the ledger, one message."""
