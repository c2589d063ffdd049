"""Python functions that the shipped scenarios call as their steps. Nothing else of the harness needs them."""
