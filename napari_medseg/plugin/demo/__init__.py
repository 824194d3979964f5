"""The demo: a script that drives the real window through the whole loop."""
