"""Workflows in WfCommons' WfFormat, versions 1.4 and 1.5: recorded runs of scientific workflows, read as scenarios.

Source: Coleman et al., "WfCommons: A framework for enabling scientific workflow research and development", FGCS 2022,
and the JSON schemas of WfFormat.
"""

from __future__ import annotations

from harness.scenario.wfformat.wfformat_file import import_wfformat, is_wfformat

__all__ = ["import_wfformat", "is_wfformat"]
