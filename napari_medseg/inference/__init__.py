"""Prediction: preprocessing, network, postprocessing, and conversion back to the image's grid."""
