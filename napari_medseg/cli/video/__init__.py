"""`medseg video`: what a video holds, its frames, labels for a range, and the accepted frames of a project."""
