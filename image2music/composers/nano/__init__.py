"""`nano`: the embedded composer, a planner by rules and a small decoder trained here. A stand-in for a VLM."""
