"""Whole slides in the window: the slide as a layer, its fields, and the strip below the canvas."""
