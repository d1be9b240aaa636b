"""Pictures from anywhere, opened safely."""

from image2music.pictures.reader import MAX_BYTES, MAX_PIXELS, Picture, open_picture

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Picture", "open_picture"]
