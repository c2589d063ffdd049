"""Child steps, as the code of a step sees them: what it asks for, what it hears back, and which step it belongs to."""
