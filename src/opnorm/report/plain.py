"""A report as text, for `print`: what the command would show on a terminal of 120 columns, without colours."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opnorm.report.document import Report

_WIDTH = 120


def as_text(report: Report) -> str:
    """The table, what was left out, and what to look at first."""
    from rich.console import Console

    from opnorm.report import comparing, text

    out = io.StringIO()
    console = Console(file=out, width=_WIDTH, color_system=None, highlight=False, markup=False, emoji=False)
    if report.comparison is None:
        text.show(report, console)
    else:
        comparing.show(report, console)
        text.show_findings(report, console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
