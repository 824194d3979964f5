"""What the model knows of a case, to guide its correction: its probabilities, and which doubtful places were seen."""
