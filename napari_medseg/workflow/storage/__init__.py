"""The files of a project as a whole: how much disk they use, what can be cleared, one archive file, and checks."""
