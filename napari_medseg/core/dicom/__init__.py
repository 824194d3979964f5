"""DICOM: headers, pixels and series of slices."""
