"""The monitor of a run: completions come in, starts go out, and the record is kept."""
