"""What the commands of ``makespan dashboards`` do."""
