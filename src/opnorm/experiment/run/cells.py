"""The work of a trial, cut into chains: one arm under one seed, 'full' first, then the conditions that train with the
setting that 'full' chose. Chains depend on nothing but the subject and the design, so that any worker may take any of
them; they go out seed by seed, so that a trial that is stopped has whole seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from opnorm.experiment.document import AGAIN, Cell, Design, Record

FULL, LOOSER = "full", "looser"


@dataclass(frozen=True, slots=True)
class Chain:
    """Cells of one arm and seed still to do, in order. chosen: the setting of 'full', if that is done already."""

    arm: str
    seed: int
    conditions: tuple[str, ...]
    chosen: Mapping[str, float] | None = None

    def cells(self) -> Iterator[Cell]:
        """One after the other."""
        for condition in self.conditions:
            yield Cell(self.arm, self.seed, condition)

    def trainings(self, budget: int) -> int:
        """At most: 'full' trains once for each setting tried."""
        return sum(budget if condition == FULL else 1 for condition in self.conditions)


def with_control(design: Design) -> str:
    """The name of the baseline's control."""
    return f"{design.baseline}@{AGAIN}"


def chains(design: Design, ceilings: Iterable[str], control: bool) -> tuple[Chain, ...]:
    """All work of `design`. ceilings: arms that 'looser' makes sense for. control: the baseline once more."""
    loosened = frozenset(ceilings)
    arms = (*design.arms, with_control(design)) if control else design.arms
    ordered = (FULL, *(condition for condition in design.conditions if condition != FULL))
    return tuple(
        Chain(arm, seed, tuple(c for c in ordered if c != LOOSER or arm in loosened))
        for seed in design.seeds
        for arm in arms
    )


def remaining(work: Iterable[Chain], done: Mapping[Cell, Record]) -> tuple[Chain, ...]:
    """What is left of `work`: cells that are done fall away, and leave the setting that they chose."""
    return tuple(left for chain in work if (left := _rest(chain, done)).conditions)


def _rest(chain: Chain, done: Mapping[Cell, Record]) -> Chain:
    full = done.get(Cell(chain.arm, chain.seed, FULL))
    left = tuple(cell.condition for cell in chain.cells() if cell not in done)
    return replace(chain, conditions=left, chosen=None if full is None else full.setting)


def in_order(work: Iterable[Chain], done: Mapping[Cell, Record]) -> tuple[Record, ...]:
    """The records of `work` in the order of the design, whatever the order they came in."""
    return tuple(done[cell] for chain in work for cell in chain.cells() if cell in done)


def trainings(work: Iterable[Chain], budget: int) -> int:
    """At most, of all of `work`."""
    return sum(chain.trainings(budget) for chain in work)
