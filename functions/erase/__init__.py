"""Removes what is kept of forgotten people, and writes a receipt."""
