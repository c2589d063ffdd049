"""The local preview page of the dashboards, and the servers that `dashboards up` starts."""
