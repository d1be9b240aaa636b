"""What is measured of tunes that are there already. What a draft is judged by is in `loop`."""
