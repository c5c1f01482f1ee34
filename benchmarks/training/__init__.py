"""Benchmarks of training: quality and cost of each model, and the speed of the same NeuMF in other libraries."""
