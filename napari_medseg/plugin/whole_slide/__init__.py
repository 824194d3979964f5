"""The prediction of a whole slide in the window: its row in the strip, its labels, its export."""
