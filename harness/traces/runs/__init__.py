"""From the steps of a trace to a run: a timeline, our own exactly, any other as far as its spans tell."""
