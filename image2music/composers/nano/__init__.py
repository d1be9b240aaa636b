"""`nano`: the embedded composer, a search over forms, harmony and lines with a small network beside it."""
