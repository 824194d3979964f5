"""What a person reads about runs and evaluations: pages, charts, figures, TensorBoard files."""
