"""Lets the endpoint's fleet grow and shrink with its requests."""
