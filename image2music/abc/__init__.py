"""ABC notation: parsed, checked, corrected by rule, played and written. What knows no text lies in `music`."""
