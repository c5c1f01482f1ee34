"""Forgets a person: from now on nobody asks for, lists or learns the id."""
