"""`medseg models`: the commands about model versions and networks."""
