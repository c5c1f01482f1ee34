"""Starts the Spark job that turns dropped interactions into a dataset version."""
