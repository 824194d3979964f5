"""Commands that write for other programs: labels, data sets, and files without identity."""
