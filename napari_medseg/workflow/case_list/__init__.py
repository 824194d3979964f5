"""The list of cases of a task: its order, its filter, its progress, and what is done with many cases at once."""
