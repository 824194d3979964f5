"""How a person looks at a case: window and level, and the slices in the other two planes."""
