"""The device that predicts: of this computer, or a server; where it is chosen, and what is said of it."""
