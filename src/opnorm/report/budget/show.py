"""The verdicts for a terminal: what does not hold, each rule in a line, and the outcome."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from opnorm.report.budget.verdict import Judgement, Verdict, by_rule
from opnorm.report.display import display_name

COMMAND = "##["
"""What the GitHub runner takes for a command wherever in a line it stands."""


def show(judgement: Judgement, console: Console) -> None:
    """Print what `lines` gives, as it is."""
    for line in lines(judgement):
        console.out(line, highlight=False)


def lines(judgement: Judgement) -> Iterator[str]:
    """One line a verdict that does not hold, one a rule, then notes, then PASS or FAIL."""
    for verdict in judgement.failed:
        yield plain(f"{verdict.word:<9}{verdict.text}  [{display_name(verdict.rule)}]")
    groups = by_rule(judgement.verdicts)
    for label, verdicts in groups.items() if len(groups) > 1 else ():
        yield plain(f"{'':<9}{display_name(label)}: {held(verdicts)} of {len(verdicts)} hold")
    for note in judgement.notes:
        yield plain(f"{'':<9}{note}")
    yield f"{'PASS' if judgement.passed else 'FAIL':<9}{judgement.sentence}"


def held(verdicts: list[Verdict]) -> int:
    """How many hold."""
    return sum(v.holds is True for v in verdicts)


def plain(text: str) -> str:
    """`text` without what a build's log would run."""
    return text.replace(COMMAND, "## [")
