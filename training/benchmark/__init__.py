"""Benchmarks: a suite of recipes is trained and scored on one data set with one split, with one result table."""
