"""Groups (patients, slides, videos) and how a split keeps them together."""
