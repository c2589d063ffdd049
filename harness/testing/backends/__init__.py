"""The conformance suite for backends: the same facts hold for every backend."""
