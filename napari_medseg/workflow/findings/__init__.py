"""Findings before training: which of them a person still has to look at, and how a tool mends them."""
