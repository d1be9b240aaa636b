"""`nano`: the embedded composer, a small decoder that this project trains itself. A stand-in for a VLM."""
