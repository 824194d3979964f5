"""Which cases evaluate models: their groups, the side of each group, and images that stand on both sides."""
