"""Proves that the endpoint answers as the model's bundle says, and makes the model the one that serves."""
