"""Datasets, generations, atomic writes, locks. What the rows mean is in `schemas`."""
