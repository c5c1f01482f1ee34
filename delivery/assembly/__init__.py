"""Writes the files that are made from shorter sources and committed, such as `template.yaml`."""
