"""Training data: reading files, cropping, sampling, and labels of batches."""
