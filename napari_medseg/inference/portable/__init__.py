"""A model version as a folder that predicts without this program."""
