"""Scenarios: a workflow and what to measure about it, read from a file and checked."""
