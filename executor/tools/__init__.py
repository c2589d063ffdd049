"""What a step does: the interface of a tool, and the tools that come with the executor."""
