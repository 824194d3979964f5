"""Videos in a project: chosen frames as cases, predicted ranges, and what is written of them."""
