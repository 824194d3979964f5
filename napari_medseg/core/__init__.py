"""What we know: images, tasks, records, cards, files. No torch, no Qt, no napari."""
