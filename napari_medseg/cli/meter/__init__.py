"""`medseg meter`: work per case, person and model version, and the agreement of two readers."""
