"""Thousands of cases on Dask: one case is one task, in processes of this machine or of a cluster."""
