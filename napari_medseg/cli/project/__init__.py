"""`medseg project` and `medseg report`: a project as a whole, and whether it has the task that a command names."""
