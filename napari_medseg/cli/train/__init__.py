"""`medseg train`: the commands that train a model."""
