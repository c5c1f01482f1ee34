"""The embedded AWS and its command line: everything of the platform that runs on a laptop and nowhere else."""
