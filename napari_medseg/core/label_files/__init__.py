"""Labels in the formats of other programs: segments with names and colours, outlines, DICOM objects."""
