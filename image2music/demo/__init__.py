"""Data to try everything on, made from installed packages alone. Nothing else depends on it."""
