"""Says which earlier version a rollback goes back to."""
