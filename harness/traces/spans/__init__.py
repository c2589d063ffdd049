"""From the spans of a trace to steps, and to the timeline of a run."""
