"""Fitting the neural models: the loop, its losses, precision, and several processes. The server loads none of it."""
