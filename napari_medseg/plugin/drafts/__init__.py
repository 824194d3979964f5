"""Drafts of open cases: they are loaded and closed in threads, so that the window does not wait."""
