"""Thin Beam transforms and model handlers, one file a stage. What they know is in `image2music`."""
