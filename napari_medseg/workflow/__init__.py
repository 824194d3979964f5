"""The user workflows without a window. No Qt and no napari; torch is imported only inside functions."""
