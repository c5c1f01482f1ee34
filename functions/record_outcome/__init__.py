"""Records the end of a run, preparation or rollback in the ledger, publishes an event and sends a notification."""
