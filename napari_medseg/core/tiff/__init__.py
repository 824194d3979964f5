"""What the tags of a TIFF file say: its axes, colours, voxel size, and whether all its pixels are there."""
