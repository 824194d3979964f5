"""What follows the forward passes of a prediction."""
