"""Takes what customers do: for the next answer, and for the next training."""
