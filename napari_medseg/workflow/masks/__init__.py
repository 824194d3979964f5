"""Masks that other programs and persons made: what they mean, and how they become labels of cases."""
