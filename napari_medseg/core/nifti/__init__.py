"""NIfTI: readers, writer and header; one volume of a file of more than three dimensions."""
