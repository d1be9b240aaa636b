"""Composing by search: form, harmony, motif, line and the voices around it, from pools of human music."""
