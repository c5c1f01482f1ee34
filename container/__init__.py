"""The container: its image (`Dockerfile`) and its commands `train` and `serve`; the one place that knows both."""
