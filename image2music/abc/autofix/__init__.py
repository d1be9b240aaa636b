"""Rules that mend what models write wrongly in ABC. What a composer mends is in `loop`."""
