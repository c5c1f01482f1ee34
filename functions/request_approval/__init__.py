"""Asks a person whether a registered model may be deployed."""
