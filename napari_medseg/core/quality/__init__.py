"""How labels are measured, scored and checked, and when a model may be promoted."""
