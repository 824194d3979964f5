"""Videos in the window: the picture at a time, the strip below the canvas, chosen frames and predicted ranges."""
