"""Puts business rules in force when a person has changed them, if they are valid."""
