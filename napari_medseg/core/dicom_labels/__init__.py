"""DICOM objects that hold labels of a series: segmentations (SEG) and structure sets (RTSTRUCT), read with pydicom."""
