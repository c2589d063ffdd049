"""The words of a workflow as checked data, the findings about them, and how an attempt ended."""
