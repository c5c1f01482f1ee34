"""Publishes what is popular and what is trending now."""
