"""What judging gives: a verdict for every limit of every row, and whether all of them hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from opnorm.report.display import display_name


@dataclass(frozen=True, slots=True)
class Verdict:
    """One limit on one row. holds: True, False, or None where nothing of the evidence asked for can tell.

    rule: its label. name: of the row, as the file has it, '' where a whole rule or model is meant. reason: in this
    project's words. detail: in others', such as why a row was refused; only ever shown escaped. evidence: what the
    verdict rests on. straddled: the limit on σ₁ that lies inside the bracket, None where it is none. line: of the rule.
    where: the row's file, '' where there is one alone. side: 'max', 'min' or 'drift', '' where it is no one limit.
    """

    rule: str
    name: str
    metric: str
    holds: bool | None
    reason: str
    detail: str = ""
    evidence: str = ""
    input: int = 0
    seconds: float = 0.0
    straddled: float | None = None
    line: int = 0
    where: str = ""
    side: str = ""

    @property
    def word(self) -> str:
        """'PASS', 'FAIL' or 'UNKNOWN'."""
        return {True: "PASS", False: "FAIL", None: "UNKNOWN"}[self.holds]

    @property
    def text(self) -> str:
        """One line for people, harmless on a terminal."""
        told = f"{self.reason}: {display_name(self.detail, 2000)}" if self.detail else self.reason
        names = [display_name(self.where, 500)] if self.where else []
        return ": ".join([*names, *([display_name(self.name)] if self.name else []), told])


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts of a run. complete: of the report. notes: what no verdict says, such as weights without a rule.

    terms: what was asked for, such as the budget's path. asked: whether anything was to be judged at all; where not, as
    when a baseline is only written, the absence of verdicts is no failure.
    """

    verdicts: tuple[Verdict, ...]
    complete: bool
    notes: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    asked: bool = True

    @property
    def passed(self) -> bool:
        """Only if there is something to judge, all of the input was read, and every verdict is True."""
        return (bool(self.verdicts) or not self.asked) and self.complete and all(v.holds is True for v in self.verdicts)

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """Those that do not hold: the proved violations first, then what could not be decided."""
        return tuple(sorted((v for v in self.verdicts if v.holds is not True), key=lambda v: v.holds is None))

    @property
    def sentence(self) -> str:
        """The outcome in a line."""
        held = [v for v in self.verdicts if v.holds is True]
        kinds = Counter(v.evidence for v in held if v.evidence)
        evidence = f" ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common())})" if kinds else ""
        text = f"{len(held)} of {len(self.verdicts)} limits hold{evidence}"
        broken = sum(v.holds is False for v in self.verdicts)
        unknown = len(self.verdicts) - len(held) - broken
        text += f", {broken} broken, {unknown} undecided" if broken or unknown else ""
        return text if self.complete else f"{text}; not everything given was measured"


def by_rule(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts under the label of their rule, in the order of the file."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.rule, []).append(verdict)
    return groups
