"""Scores to ABC text. Reading it is in the folder above."""
