"""The metrics of runs: one table of names, samples while a run goes on and after it."""
