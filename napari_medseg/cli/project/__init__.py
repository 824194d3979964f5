"""`medseg project` and `medseg report`: a project as a whole."""
