"""From the spans of a trace to a tree with consistent times, and to steps."""
