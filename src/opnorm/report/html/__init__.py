"""The report as one self-contained page: `page(report)` for a file, `fragment(report)` for a notebook.

The way of the data: `Report` → `payload` (its JSON, in columns, compressed, in blocks) and `summary` (what stands in
the page's own words, so that it reads without a script) → `assemble` (template, styles and script of `assets/`).

Guarantee: the page asks no network for anything, its content security policy allows only its own style and script by
their hashes, and its script never writes markup (`require-trusted-types-for`): names, however hostile, are only text.
"""

from opnorm.report.html.assemble import page
from opnorm.report.html.notebook import fragment

__all__ = ["fragment", "page"]
