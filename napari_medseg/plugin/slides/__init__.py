"""Whole slides in the window."""
