"""Outlines of other programs (COCO, Aperio XML) and how they become labels."""
