"""What is measured of tunes that are there already: pure functions from rows to figures, and from figures to tables."""
