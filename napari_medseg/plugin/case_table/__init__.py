"""The table of cases: model, view, thumbnails, and what is done with the cases that are selected in it."""
