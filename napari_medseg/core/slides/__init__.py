"""Whole slides: pyramids that are read piece by piece, their fields, and where tissue lies on them."""
