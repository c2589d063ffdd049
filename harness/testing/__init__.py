"""The testing kit: strategies, an oracle and a reference for anybody who writes a scheduler or a backend.

- :mod:`harness.testing.graphs`: a workflow as plain data, and what the three rules make of it.
- :mod:`harness.testing.oracle`: judges a run by its record alone, each rule as a named property.
- :mod:`harness.testing.strategies`: Hypothesis strategies for whole runs (extra ``testing``);
  :mod:`harness.testing.generator` draws the same runs from a seed, without Hypothesis.
- :mod:`harness.testing.behaviour`: what happens in a drawn run; :mod:`harness.testing.reference` plays it.
- :mod:`harness.testing.conformance_backend`: the suite for backends; :mod:`harness.testing.protocol` watches one.
- :mod:`harness.testing.conformance_scheduler`: the suite for schedulers of other people, as black boxes.
- :mod:`harness.testing.hard_cases`: counts whether the combinations that break schedulers are drawn.
"""
