"""Random changes of images and labels during training, computed in batches on the device."""
