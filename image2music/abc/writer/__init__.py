"""Scores to ABC text. Reading it is next door."""
