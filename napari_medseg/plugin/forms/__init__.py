"""Forms made with magicgui: export, retrain options, preferences, and tasks."""
