"""What runs: the command line, the jobs and what they have in common."""
