"""Masks that a person drops on the window: what their values mean, and what becomes of them."""
