"""The same jobs by this package and by an idiomatic JavaScript Worker, in one run."""
