"""The container: its image (`Dockerfile`) and the command `train`. Only this package imports training and serving."""
