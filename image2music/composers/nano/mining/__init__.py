"""Mining the repertoire for the tables that `pools` loads; `python -m image2music.composers.nano.mining` does it."""
