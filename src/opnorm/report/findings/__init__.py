"""Findings: what a reader of the report should look at first, each with figures, evidence and a next step.

The way: report → one judge a code (`table`) → `Found` (a finding and how far it lies beyond its threshold) → ranked by
severity, then by that. Judges read the report's numbers and nothing else; where `Row.spectrum` is None those that need
a spectrum stay silent. A finding is no proof that something is broken: its code's page (`opnorm explain ON102`) says
how it is judged, from which theory or reference distribution, and what healthy models it may hit.

Guarantee: a figure has the evidence that the finding names, the weakest of all that it was compared with; bounds are
used so that their width never makes a finding. Cost: O(rows·log rows), no products.
"""

from opnorm.report.findings.collect import findings_of
from opnorm.report.findings.penalized import findings_from_gate
from opnorm.report.findings.thresholds import DEFAULT, Thresholds, read_thresholds

__all__ = ["DEFAULT", "Thresholds", "findings_from_gate", "findings_of", "read_thresholds"]
