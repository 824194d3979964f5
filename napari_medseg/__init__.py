"""Correct medical labels in napari, and let the model learn from the corrections."""
