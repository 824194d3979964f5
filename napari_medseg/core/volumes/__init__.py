"""MetaImage and NRRD, the files of ITK and 3D Slicer: volumes with their place in the patient, and segments with names.

pynrrd inflates without a limit and follows names of data files anywhere, and SimpleITK is 50 MB: hence own readers.
"""
