"""What an attentive listener would notice in a tune, by bar and beat."""
