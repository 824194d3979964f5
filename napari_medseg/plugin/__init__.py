"""What napari shows. Qt and napari live here, and only here."""
