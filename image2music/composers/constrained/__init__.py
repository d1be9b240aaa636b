"""Decoding that only allows legal ABC with exact bars. Checking finished text is in `abc`."""
