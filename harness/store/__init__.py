"""The history of runs: one SQLite file in the user's data folder."""
