"""The server that predicts for the windows of other computers: who may, in which order, and within which limits."""
