"""The testing kit: strategies, an oracle and a reference for anybody who writes a scheduler or a backend.

- :mod:`harness.testing.oracle.plain_graph`: a workflow as plain data, and what the three rules make of it.
- :mod:`harness.testing.oracle.judge`: judges a run by its record alone, each rule as a named property.
- :mod:`harness.testing.drawing.strategies`: Hypothesis strategies for whole runs (extra ``testing``);
  :mod:`harness.testing.drawing.generator` draws the same runs from a seed, without Hypothesis.
- :mod:`harness.testing.drawing.behaviour`: what happens in a drawn run;
  :mod:`harness.testing.drawing.reference_schedule` plays it.
- :mod:`harness.testing.backends.backend_suite`: the suite for backends; :mod:`harness.testing.backends.protocol_watch`
  watches one.
- :mod:`harness.testing.schedulers.scheduler_suite`: the suite for schedulers of other people, as black boxes.
"""
