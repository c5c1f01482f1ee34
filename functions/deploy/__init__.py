"""Deploys a run's model on the endpoint, or rolls the endpoint back."""
