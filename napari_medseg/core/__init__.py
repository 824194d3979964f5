"""Basic types and files: images, tasks, records, model cards. No torch, no Qt, no napari."""
