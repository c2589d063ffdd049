"""Random concurrent programs with known truth: what the analysis of traces says is held against what is so.

::

    seed ─▶ draw a program ─▶ play it on a virtual clock ─▶ the spans that an SDK would emit ─▶ the analysis
                    └─▶ what needs what, which limit held, the makespan of the changed program ─▶ scores

Rules of this package:
- A prediction is judged by playing the changed program, never by a formula of the analysis.
- Same seed, same programs, same spans.
"""
