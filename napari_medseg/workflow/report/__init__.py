"""The report of a project: one page for whoever answers for the result."""
