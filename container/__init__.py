"""The container: its image (`Dockerfile`) and the command `train`; the one place that knows training and serving."""
