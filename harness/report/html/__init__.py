"""The HTML report: one self-contained file about one or several ``makespan.run/1`` documents.

Rules of this package:
- The file opens from disk, asks no network for anything (its own policy forbids it), and runs no script but its own.
- Every text that comes from a run is data: it is escaped for where it is, and control characters become signs.
- Figures come from the document; nothing is measured, and nothing is computed twice.
- Everything that is drawn is in a table, too.
"""

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.report.html.page import report_html, write_report

__all__ = ["report_html", "write_report"]

# A terminal's summary says capacities in the report's words, and draws no page.
__getattr__, __dir__ = lazy_names(__name__, {"harness.report.html.page": ("report_html", "write_report")})
