"""What a run was worth: reads scenarios, runs and measures them, analyses the record, and reports."""
