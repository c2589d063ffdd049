"""The run of a trace again on the virtual clock, with something changed."""
