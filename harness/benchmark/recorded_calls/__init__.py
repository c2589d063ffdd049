"""Recorded tool calls: written during a run, and played again in a benchmark."""
