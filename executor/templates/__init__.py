"""Sandboxed Jinja2 templates: references, rendering, and a budget for each rendering."""
