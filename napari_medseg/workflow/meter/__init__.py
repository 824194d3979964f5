"""The meter: work per case, person and model version; what retraining saved, and what is left."""
