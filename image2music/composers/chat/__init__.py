"""Composers that are chat models: prompts, what to read out of their answers, and the backends that run them."""
