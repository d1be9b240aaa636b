"""What is stored: one pyarrow schema a file. Nothing else defines columns."""
