"""Predictions of whole slides: made chunk by chunk, merged, counted, corrected by fields, and exported."""
