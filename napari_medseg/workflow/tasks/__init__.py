"""Tasks of a project: new ones, changes of their labels, and for which task an image is used."""
