"""The chain from a picture to a finished tune, for every composer. The models are in `composers`."""
