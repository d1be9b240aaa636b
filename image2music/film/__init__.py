"""Tunes and albums as films: when pictures change, how the view moves, frames, sound, and the MP4 file."""
