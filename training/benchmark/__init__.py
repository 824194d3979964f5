"""A suite of recipes, trained and scored on one data set with one split, as one table."""
