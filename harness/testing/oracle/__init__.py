"""The oracle: judges a run by its record alone. It shares no code with the scheduler."""
