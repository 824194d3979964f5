"""What a terminal shows: the command `medseg`, one file a command. The top layer."""
