"""How models learn: recipes, data, losses, the loop, and honest evaluation."""
