"""What is seen in the dock: its sections, lists and dialogs."""
