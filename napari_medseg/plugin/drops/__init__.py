"""Images that come into the window: read, sorted by task, and made cases."""
