"""What people see of a result: summaries, and later reports."""
