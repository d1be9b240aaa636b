"""The loop from references to a finished tune, and the paper's chain. The models are in `composers`."""
