"""The paper's chain from a picture to a finished tune, one file a step. The models are in `composers`."""
