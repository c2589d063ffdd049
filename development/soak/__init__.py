"""Runs for hours in one process, with faults: nothing grows, nothing is left, nothing hangs. ``make soak``."""
