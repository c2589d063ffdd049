"""`processes`: worker processes, with a pair of channels each."""
