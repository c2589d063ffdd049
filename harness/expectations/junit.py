"""Verdicts as JUnit XML, which CI systems show as test results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from harness.expectations.expectation_judging import Verdict

# What XML 1.0 cannot hold, not even escaped.
_IMPOSSIBLE: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Sequence[Verdict], *, suite: str = "expectations") -> str:
    """One test case for each verdict. What is not met is a failure, what could not be judged an error. ``suite`` is
    usually the scenario's name.
    """
    failures = sum(1 for verdict in verdicts if verdict.judged and not verdict.met)
    errors = sum(1 for verdict in verdicts if not verdict.judged)
    counts = {"tests": str(len(verdicts)), "failures": str(failures), "errors": str(errors)}
    root = ET.Element("testsuites", {"name": "makespan", **counts})
    inside = ET.SubElement(root, "testsuite", {"name": _text(suite), **counts, "skipped": "0"})
    for verdict in verdicts:
        group = suite if verdict.cell is None else f"{suite}.{verdict.cell}"
        case = ET.SubElement(inside, "testcase", {"classname": _text(group), "name": _text(verdict.line)})
        reason = _text(verdict.reason)
        if verdict.met:
            ET.SubElement(case, "system-out").text = reason
            continue
        kind = ("failure", "not met") if verdict.judged else ("error", "not judged")
        ET.SubElement(case, kind[0], {"message": reason, "type": kind[1]}).text = _text(str(verdict))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _text(text: str) -> str:
    return _IMPOSSIBLE.sub("�", text)
