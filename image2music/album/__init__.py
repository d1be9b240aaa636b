"""Pictures of one folder as one piece: planned before they are composed, bound afterwards."""
