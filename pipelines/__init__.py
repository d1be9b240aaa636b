"""What runs: one readable chain a file, and the command line."""
