"""Thin Beam transforms and model handlers, one file a stage."""
