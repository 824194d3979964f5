"""Retraining and learning at Accept on a server: what is sent, how the local run folder mirrors it, who may ask."""
