"""The options of a declared Python function, apart from its tool: worker processes call tools and read no options."""

from __future__ import annotations

from executor.model.workflow import StrictModel


class PythonOptions(StrictModel):
    """``callable`` is ``module:function`` (dots after the colon reach into classes). ``cpu_bound``: it computes in
    Python, so that threads cannot run it side by side.
    """

    callable: str
    cpu_bound: bool = False
