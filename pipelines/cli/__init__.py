"""The command `image2music`, one file a command: from words on the command line to a job. Nothing is computed here."""
