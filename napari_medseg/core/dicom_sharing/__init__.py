"""DICOM files without identities, to pass on: the Basic Profile of DICOM PS3.15, annex E."""
