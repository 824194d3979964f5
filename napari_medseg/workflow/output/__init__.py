"""Files for other programs: predictions and exports, their names and their provenance."""
