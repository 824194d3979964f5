"""Which model version is live: the history of promotions and roll-backs in a registry."""
