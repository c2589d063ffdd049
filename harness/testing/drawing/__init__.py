"""Random runs: Hypothesis strategies, a seeded generator, and the schedule that a slow reference gives."""
