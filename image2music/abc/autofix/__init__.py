"""Rules that correct what models write wrongly in ABC. What a composer repairs is in `loop`."""
