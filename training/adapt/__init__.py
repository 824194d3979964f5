"""Learning at Accept: a version is adapted to the newest corrections in seconds, for the next drafts only."""
