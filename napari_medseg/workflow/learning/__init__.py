"""Learning at Accept: which corrections the next drafts learn from, and which adapted state makes them."""
