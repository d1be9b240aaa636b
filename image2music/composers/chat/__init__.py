"""Composers that are chat models: prompts, answers, servers. The engine for local models is inside."""
