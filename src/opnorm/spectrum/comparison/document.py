"""The frozen data of two models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opnorm.spectrum.document import Quantity


@dataclass(frozen=True, slots=True)
class Change:
    """One layer in both. name, tuned_name: of the rows (alike unless matched by prefix). status: 'changed', 'equal'
    (bit for bit), 'undefined', 'refused' or 'shape' (cannot be compared: `reason` says why).

    base, tuned: brackets of σ₁ of either. delta: of ‖ΔW‖, which bounds by Weyl's inequality how far every singular
    value can have moved. relative: ‖ΔW‖/‖W‖. quantities: further ones by name: 'delta_frobenius',
    'delta_stable_rank', 'delta_rank', 'relative_frobenius', 'largest_shift' (max |σᵢ(tuned) − σᵢ(base)|),
    'intruders' (top directions of the tuned layer that the base's do not have), 'rotation' (degrees between the top
    singular directions of either). failure_probability: of all brackets here together.
    """

    name: str
    tuned_name: str
    kind: str
    operator: str
    shape: tuple[int, ...]
    status: str
    reason: str = ""
    base: Quantity | None = None
    tuned: Quantity | None = None
    delta: Quantity | None = None
    relative: Quantity | None = None
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    failure_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two inputs. base, tuned: their paths. only_base, only_tuned: rows without a partner. notes: how names were
    matched, and what was not done. failure_probability: an upper bound on the odds that any bracket is wrong.
    """

    base: str
    tuned: str
    changes: tuple[Change, ...] = ()
    only_base: tuple[str, ...] = ()
    only_tuned: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure_probability: float = 0.0
