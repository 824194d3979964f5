"""Fields of slides as cases of a project."""
