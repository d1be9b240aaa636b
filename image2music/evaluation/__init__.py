"""Measure, compare and judge finished tunes. What decides about a draft while it is composed is in `loop`."""
