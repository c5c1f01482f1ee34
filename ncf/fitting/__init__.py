"""Fitting of the neural models: training loop, losses, precision, several processes. The server does not load it."""
