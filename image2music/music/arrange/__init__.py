"""The arranger: from a plan and the lines that somebody wrote to a whole piece, by rule (`arranger.arrange_plan`)."""
