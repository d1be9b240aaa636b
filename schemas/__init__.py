"""What is stored: one pyarrow schema a kind of row. Nothing else defines columns, and nothing is computed here."""
