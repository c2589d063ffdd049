"""Checks of the dashboards: their JSON, their queries, and the answers of a real server."""
