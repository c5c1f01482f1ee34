"""Ends a failed run or preparation: orphan jobs stopped, lock given back, reason in the ledger, one notification."""
