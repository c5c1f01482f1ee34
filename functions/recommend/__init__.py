"""Answers the HTTP API: personal recommendations from the endpoint, popular items when it does not answer."""
