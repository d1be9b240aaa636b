"""ABC notation: read, checked, played, mended, written. What knows no text lies in `music`."""
