"""Training on folders of images and masks, without a project; and the bundled base models."""
