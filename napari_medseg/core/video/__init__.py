"""Video files: an index of their frames, exact access to each one, and videos that are written."""
