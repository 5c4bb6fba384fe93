"""The report of a trial: for a terminal (`show`), as one page (`page`) and for other programs (`to_json`).

The way of the data: `TrialReport` → `answer` (the title's question answered, in words) → `text` for the terminal,
`html` for the page, `machine` for JSON. Nothing here computes a statistic: every number comes from the report.
"""

from opnorm.report.trial.html import page
from opnorm.report.trial.machine import read_json, to_json, verdict_json
from opnorm.report.trial.text import show

__all__ = ["page", "read_json", "show", "to_json", "verdict_json"]
