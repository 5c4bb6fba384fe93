"""The trial as one self-contained page, in the look of the other reports.

The way of the data: `TrialReport` → figures as SVG and rows of tables (`estimation`, `costs`, `curves`, `tuning`,
`ledger`), complete without a script → `assemble` (template, styles, script) → one text.

Guarantee: the page asks no network for anything, its policy allows only its own style and script by their hashes, the
script never writes markup, every text of the report is escaped, and the report itself is inside (`payload`).
"""

from opnorm.report.trial.html.assemble import page

__all__ = ["page"]
