"""What a person says about a case: a note, a flag for a colleague, and the reason for its rejection."""
