"""What a server does for its users."""
