"""What `medseg doctor` finds out about this computer, without a window."""
