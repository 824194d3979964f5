"""The window about the project as a whole."""
