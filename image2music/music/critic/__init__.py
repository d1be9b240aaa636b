"""One number for how musical a piece is, from its notes, learned from human music."""
