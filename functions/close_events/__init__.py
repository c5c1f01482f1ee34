"""Announces what customers did since the last announcement, so that the next training learns from it."""
