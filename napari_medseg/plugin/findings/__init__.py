"""Findings before training, in the window: go to the place, call it right, or let a tool mend it."""
