"""How nano is trained. Nothing here runs when it composes, but for the n-grams it must not copy."""
