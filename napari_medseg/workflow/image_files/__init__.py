"""Image files without a project: which ones a command means, and the prediction of one into a label file."""
