"""Training: what each model is worth, what it costs, and how fast the same NeuMF is trained elsewhere."""
