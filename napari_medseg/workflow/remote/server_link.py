"""stub until s26N is merged."""
