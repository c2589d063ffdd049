"""Random workflows with random faults, played on the virtual clock and on real backends, and judged by the oracle."""
