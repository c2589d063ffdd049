"""Dependencies between the steps of a trace: stated, recorded, inferred from data, and assumed."""
