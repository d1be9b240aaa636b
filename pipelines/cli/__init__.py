"""The command `image2music`: options, one file a command, tables. Nothing is computed here."""
