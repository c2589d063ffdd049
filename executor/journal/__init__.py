"""The journal of a run: what happened, on disk as it happens, and how a later run goes on from there.

::

    engine ─ ends ─▶ JournalWriter (one thread) ─▶ JournalFile ─▶ EarlierRun ─▶ plan_resume, FinishedSteps ─▶ engine

Rules of this package:
- A journal never harms its run: what cannot be written is counted and said.
- It is read whole or refused whole: each batch has a number and a checksum.
- A result is used only for the very call that would be made (:mod:`executor.tools.identity`).
"""
