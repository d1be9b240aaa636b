"""Pictures of one folder as one piece: what is planned before they are composed, and what is bound afterwards."""
