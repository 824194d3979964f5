"""The fastest runtime, precision and batch of a version on a device: measured once and kept in a cache."""
