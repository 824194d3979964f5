"""Measurements, scores and checks of labels, and the promotion gate."""
