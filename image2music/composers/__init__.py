"""Models that write music behind one protocol. When each is asked is in `loop`."""
