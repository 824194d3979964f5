"""The model's probabilities of a prediction: how they are computed, and the compressed file that holds them."""
