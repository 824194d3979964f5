"""What is minimised: losses, their sums, and the pixels that count."""
