"""`medseg serve`: predict for the windows of other computers, and who may ask."""
