"""Child steps: what a running step asks the engine for, and how it hears of the end."""
