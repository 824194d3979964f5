"""Both ends of the wire between the window and its warm inference process."""
