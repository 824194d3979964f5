"""Losses, weighted sums of losses, and masks of ignored pixels."""
