"""What reacts: controllers between the workflow and the viewer, without any layout."""
