"""Checks that the endpoint gives the golden answers of the model's bundle, and records the model as serving."""
