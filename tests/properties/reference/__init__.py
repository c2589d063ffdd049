"""A second scheduler, slow and obvious, that the real one and the oracle are compared with."""
