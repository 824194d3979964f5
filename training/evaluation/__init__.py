"""How a model is scored and reported: calibration, hold-out comparison, HTML and figures."""
