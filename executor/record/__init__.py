"""The record of a run as data: attempts with their times and reasons, and how each attempt ended."""
