"""The demo: a script that runs the complete workflow in the real window."""
