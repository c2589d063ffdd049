"""The Grafana dashboards as code: panels, queries, variables, links and provisioning."""
