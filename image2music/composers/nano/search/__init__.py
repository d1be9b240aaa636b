"""The search for a tune: form, harmony, motif and line, and the voices beside it."""
