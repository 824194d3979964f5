"""From files to training samples: reading, cropping, sampling and labels of a batch."""
