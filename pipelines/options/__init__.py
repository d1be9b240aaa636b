"""What the command line asks of each job: every option with its type, default, help and check."""
