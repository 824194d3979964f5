"""Learning at Accept in the window: when it starts, when it waits, and what the dock says of it."""
