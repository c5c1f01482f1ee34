"""Ends a run, or a preparation, in the ledger and tells whoever listens."""
