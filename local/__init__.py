"""Local mode: the commands that run the platform on an embedded AWS on a laptop."""
