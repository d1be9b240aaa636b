"""Pictures: opened safely, and what is seen in them. Vectors are in `embedders`."""
