"""Every figure the documents quote, each against a peer in the same run."""
