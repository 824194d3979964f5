"""What computes a network: torch, or OpenVINO on a CPU; with the same labels."""
