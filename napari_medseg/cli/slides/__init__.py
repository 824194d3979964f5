"""`medseg slides`: whole slides."""
