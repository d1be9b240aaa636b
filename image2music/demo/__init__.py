"""Data to try everything on, made from installed packages alone: real music, real photographs, generated captions."""
