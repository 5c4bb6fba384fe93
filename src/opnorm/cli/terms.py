"""What `opnorm check` is to hold a model to, as its options say it; refused before measuring where senseless."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opnorm.bound import Evidence
from opnorm.cli.options import Options
from opnorm.errors import UsageError

if TYPE_CHECKING:
    from opnorm.report.budget.baseline import Baseline
    from opnorm.report.budget.budget import Budget
    from opnorm.report.insight import Insight

_BASELINE_WIDTH, _NARROWEST = 1e-3, 1e-6
"""Relative width at which a baseline is written, and the narrowest that a drift asks for by itself."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A ceiling on every norm, a budget (without rules where none is given), a baseline to compare with.

    writing: a baseline is to be written. options: those of every measuring verb.
    """

    ceiling: float | None
    budget: Budget
    baseline: Baseline | None
    writing: bool
    options: Options

    @property
    def asked(self) -> bool:
        """Whether there is anything to judge."""
        return self.ceiling is not None or bool(self.budget.rules) or self.baseline is not None

    @property
    def evidence(self) -> Evidence:
        """What a rule asks for that does not say."""
        return Evidence.parse(self.options.evidence)

    @property
    def selected(self) -> bool:
        """Whether only a part of the model is looked at."""
        return bool(self.options.only or self.options.skip)

    def told(self) -> tuple[str, ...]:
        """In the words of the command line."""
        ceiling = () if self.ceiling is None else (f"--max {self.ceiling:g}",)
        budget = (f"--budget {self.budget.path}",) if self.budget.path else ()
        baseline = () if self.baseline is None else (f"--baseline {self.baseline.path}",)
        return (*ceiling, *budget, *baseline)

    def measuring(self) -> Options:
        """The options with what the budget needs to be measured."""
        evidence = max(self.evidence, self.budget.evidence(Evidence.ESTIMATE))
        width = min(self.options.width, self._width())
        return replace(self.options, evidence=evidence.label, width=width)

    def insight(self) -> Insight | None:
        """The spectra that the budget limits."""
        if not self.budget.needs_spectrum:
            return None
        from opnorm.report.budget.spectra import Spectra

        return Spectra(budget=self.budget)

    def _width(self) -> float:
        """A tenth of the least drift allowed, within reason: two brackets wider than a drift cannot tell of it."""
        drifts = [d for d in self.budget.drifts if d > 0] if self.baseline is not None else []
        wanted = [max(d / 10, _NARROWEST) for d in drifts] + ([_BASELINE_WIDTH] if self.writing else [])
        return min(wanted, default=math.inf)


def read_terms(
    ceiling: float | None, path: str | None, baseline: str | None, drift: float | None, writing: bool, options: Options
) -> Terms:
    """The terms, their files read; `UsageError` for what cannot be meant together."""
    from opnorm.report.budget.baseline import read_baseline
    from opnorm.report.budget.budget import Budget, Drift
    from opnorm.report.budget.reading import read_budget

    if ceiling is not None and not ceiling >= 0:
        raise UsageError(f"--max {ceiling} is not possible: give a number of at least 0")
    if drift is not None and not 0 <= drift < math.inf:
        raise UsageError(f"--drift {drift} is not possible: give a relative change of at least 0, such as 0.05")
    budget = Budget("") if path is None else read_budget(path)
    if drift is not None:
        budget = replace(budget, drift=Drift(drift, budget.drift is not None and budget.drift.unmatched))
    if baseline is None and budget.needs_baseline and not writing:
        raise UsageError("drift is limited and there is nothing to compare with: give --baseline FILE")
    if baseline is not None and not budget.needs_baseline:
        raise UsageError("--baseline says how it was, not how far it may go: give --drift R, or drift in the budget")
    if budget.needs_spectrum and options.insight is False:
        raise UsageError(f"{budget.path}: limits metrics of the spectrum, which --no-insight leaves out")
    return Terms(ceiling, budget, None if baseline is None else read_baseline(baseline), writing, options)
