"""What a model must keep, as frozen data: rules with ceilings, floors and allowed drift, each for the rows it covers.

The way: a TOML file → `Budget` (`opnorm.report.budget.reading`) → judged on a report (`judge`) → `Judgement` → the
terminal, JUnit, GitHub, Markdown, a model card. All rules that cover a row apply to it; there is no order among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from opnorm.bound import Evidence
from opnorm.report.budget.metrics import NORMS, SPECTRAL_NORM
from opnorm.report.document import Row


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of one metric for the rows that `globs` and `kinds` cover.

    label: what the outputs call it. globs: patterns of row names, tensor names or module paths, `*` crosses dots; the
    name itself always matches, brackets or not. skip: patterns to leave out. kinds: of rows, patterns too; empty for
    all. max, min: inclusive. drift: the relative change from the baseline that is allowed. evidence: the least
    that a verdict may rest on, None for the command's. optional: it may cover nothing. derived: rows made of several
    tensors (circuits, folded layers) are judged as well. line: of the file, 0 where unknown.
    """

    label: str
    metric: str = SPECTRAL_NORM
    globs: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    max: float | None = None
    min: float | None = None
    drift: float | None = None
    evidence: Evidence | None = None
    optional: bool = False
    derived: bool = False
    line: int = 0

    def covers(self, row: Row) -> bool:
        """Whether the rule speaks of `row`; never of what is no linear map."""
        if row.status == "not_a_map" or not (self.derived or is_weight(row)):
            return False
        names = list(paths(row.name, *(() if row.derived else row.tensors)))
        wanted = _any(names, self.globs) and (not self.kinds or _any([row.kind], self.kinds))
        return wanted and not _any(names, self.skip)


@dataclass(frozen=True, slots=True)
class Drift:
    """The relative change of σ₁ allowed to every weight whose drift no rule limits.

    unmatched: whether weights may be missing from the baseline, or be in it alone.
    """

    relative: float
    unmatched: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """All rules of a file."""

    path: str
    rules: tuple[Rule, ...] = ()
    drift: Drift | None = None

    @property
    def needs_spectrum(self) -> bool:
        """Whether a rule limits a metric that only a row's spectrum knows."""
        return any(rule.metric not in NORMS for rule in self.rules)

    def limits_spectrum(self, row: Row) -> bool:
        """Whether a rule limits a metric that only the spectrum of `row` knows."""
        return any(rule.metric not in NORMS and rule.covers(row) for rule in self.rules)

    @property
    def needs_baseline(self) -> bool:
        """Whether anything here limits drift."""
        return bool(self.drifts)

    @property
    def drifts(self) -> tuple[float, ...]:
        """Every relative change that is allowed somewhere."""
        default = () if self.drift is None else (self.drift.relative,)
        return (*default, *(rule.drift for rule in self.rules if rule.drift is not None))

    def evidence(self, least: Evidence) -> Evidence:
        """The strongest evidence that a rule asks for, at least `least`: what must be measured."""
        return max((rule.evidence for rule in self.rules if rule.evidence is not None), default=least, key=int)


def is_weight(row: Row) -> bool:
    """Whether a row is a weight, and not made of several: a weight with its adapter is the weight that acts."""
    return not row.derived or row.kind.startswith("adapted")


def paths(*names: str) -> Iterator[str]:
    """The names, and every module path above them."""
    for name in names:
        yield name
        while "." in name:
            name = name.rpartition(".")[0]
            yield name


def _any(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for name in names for pattern in patterns)
