"""The small network beside the search: it proposes motifs, says how surprising and how lively a line is, and reads."""
