"""Answers the HTTP API: recommendations from the endpoint, or stored lists when the endpoint does not answer."""
