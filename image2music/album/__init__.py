"""Pictures of one folder as one piece: the plan before they are composed, the book after. The loop is in `loop`."""
