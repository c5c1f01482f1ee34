"""Makes the lists that a batch wrote the ones that stand in for the endpoint."""
