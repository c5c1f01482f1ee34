"""Configures automatic scaling of the endpoint."""
