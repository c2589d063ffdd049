"""What a trace says of its run: where the time went, and what another schedule would gain."""
