"""How unlike its training images an image is, from the features that a prediction computes anyway."""
