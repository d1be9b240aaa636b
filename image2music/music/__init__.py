"""Music as data: scores, theory, MIDI, metrics, similarity. What knows of ABC text lies in `abc`."""
