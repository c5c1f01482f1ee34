"""Counts how often each item was chosen, once for each delivered file of events."""
