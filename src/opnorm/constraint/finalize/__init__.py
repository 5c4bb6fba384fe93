"""The end of control: the last projection, the cast to what is stored, and the proof of it."""
