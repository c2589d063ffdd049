"""Resource-constrained projects with one mode: PSPLIB's ``.sm`` files and Patterson's ``.rcp`` files, as scenarios.

Source: Kolisch and Sprecher, "PSPLIB, a project scheduling problem library", EJOR 1997; Patterson, "A comparison of
exact approaches for solving the multiple constrained resource, project scheduling problem", Management Science 1984.
"""

from __future__ import annotations

from harness.scenario.projects.project_file import ProjectDocument, is_project_file, read_project

__all__ = ["ProjectDocument", "is_project_file", "read_project"]
