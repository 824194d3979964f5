"""Tasks: what is segmented, tasks made by users, and which task an image is for."""
