"""The plan of a tune: what is decided before a note is written, how it is checked and mended, and who makes it."""
