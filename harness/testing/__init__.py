"""The testing kit for authors of schedulers, backends and workflows.

- :mod:`harness.testing.backends`: the suite for backends (``BackendConformance``), and ``watch`` for one of them.
- :mod:`harness.testing.schedulers`: the suite for schedulers of other people (``SchedulerConformance``,
  ``fuzz_target``), as black boxes.
- :mod:`harness.testing.oracle`: judges a run by its record alone, each rule as a named property (``check_timeline``).
- :mod:`harness.testing.drawing`: Hypothesis strategies for whole runs (``workflows``; extra ``testing``), the same runs
  from a seed (``random_workflow``), and a player on the virtual clock (``simulate``).
- :mod:`harness.testing.fuzz`: random runs with random faults, as `makespan fuzz` plays them.
- :mod:`harness.testing.programs`: random concurrent programs with known truth, which score the analysis of traces.
"""
