"""Whether the images of cases can still be read: looked up without reading them, and remembered when one failed."""
