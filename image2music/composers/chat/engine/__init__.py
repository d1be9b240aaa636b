"""Runs a vision-language model in this process: loading, prefill, decoding. No prompt is known here."""
