"""Readings: who corrects a case, a second person's blind reading of it, and how far labels agree."""
