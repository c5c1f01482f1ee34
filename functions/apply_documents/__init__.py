"""Puts changed documents of the shop in force, if they are valid."""
