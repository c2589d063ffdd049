"""The conformance suite for schedulers of other projects, as black boxes."""
