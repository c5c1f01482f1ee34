"""Publishes the lists of a batch, which `recommend` uses when the endpoint does not answer."""
