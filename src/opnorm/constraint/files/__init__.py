"""Caps on checkpoint files: chosen rows moved, every other bit kept, proved from the bytes on disk."""
