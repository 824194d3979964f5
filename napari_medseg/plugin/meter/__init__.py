"""The meter in the window: the page with its plots, the readers, and where they differ."""
