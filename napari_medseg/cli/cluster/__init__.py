"""What the commands that spread their work over several processes share."""
