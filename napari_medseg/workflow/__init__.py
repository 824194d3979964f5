"""What a user does, headless. No Qt, no napari; torch only inside functions."""
