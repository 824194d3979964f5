"""Generic Qt widgets and workers that know nothing of cases and models."""
