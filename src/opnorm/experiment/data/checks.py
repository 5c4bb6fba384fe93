"""What a trial cannot answer, found before anything is trained; each message says what to do.

A leak is a feature that gives the target away: its values, or whether it is missing, tell every class (or order every
number) without one exception. Honest features hardly do that over so many examples; where one does, every model that
sees it is right everywhere, and there is nothing that a technique could improve.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.examples import Columns, Targets
from opnorm.experiment.data.words import counted, listed, nearest, shown

if TYPE_CHECKING:
    import pandas

LEAST_ROWS = 50
LEAST_OF_CLASS = 10
"""So that each of three parts has at least one of it, and the training part seven."""

_FINE = 20
"""A feature of more different values than rows ÷ this tells too little about each for a leak to be seen."""


def require_column(name: str | None, names: Sequence[str], role: str, option: str) -> str:
    """That the column exists."""
    if name is None:
        raise UsageError(f"name the {role} with {option}: the columns are {listed(names, 20)}")
    if name not in names:
        raise UsageError(f"there is no column {shown(name)} for the {role}: the columns are {listed(names, 20)}."
                         + nearest(name, names))  # fmt: skip
    return name


def require_rows(rows: int) -> None:
    """That there is anything to split."""
    if rows < LEAST_ROWS:
        raise UsageError(
            f"{counted(rows, 'example')} with a target: a trial needs at least {LEAST_ROWS}, of which it trains on 70%"
        )


def require_targets(name: str, targets: Targets) -> None:
    """That they differ, and that each class has enough examples for three parts."""
    values, counts = np.unique(targets.values, return_counts=True)
    if len(values) < 2:
        only = targets.labels[int(values[0])] if targets.task.classifies else f"{values[0]:g}"
        raise UsageError(
            f"the target {shown(name)} is {shown(only)} in every row: there is nothing to predict, choose another"
        )
    if not targets.task.classifies or targets.values.ndim > 1:
        return
    rare = [(targets.labels[int(v)], int(n)) for v, n in zip(values, counts, strict=True) if n < LEAST_OF_CLASS]
    if rare:
        few = ", ".join(f"{shown(label)} has {n}" for label, n in rare[:8])
        more = f" and {len(rare) - 8} more classes" if len(rare) > 8 else ""
        raise UsageError(
            f"too few examples for three parts: of the target {shown(name)}, {few}{more}; each class needs "
            f"{LEAST_OF_CLASS}: merge or remove rare classes, or add rows"
        )


def require_no_leak(frame: pandas.DataFrame, columns: Columns, targets: Targets, name: str) -> None:
    """That no column gives the target away."""
    told = {c: how for c in columns.used if (how := _leak(frame[c].to_numpy(), c in columns.categories, targets))}
    if told:
        columns_said = "; ".join(f"{shown(c)} {how}" for c, how in list(told.items())[:8])
        options = " ".join(f"--drop {shown(c)}" for c in list(told)[:8])
        raise UsageError(
            f"the target {shown(name)} can be read off other columns: {columns_said}. Every model that sees "
            f"them is right everywhere: leave them out with {options}"
        )


def _leak(values: np.ndarray, category: bool, targets: Targets) -> str:
    import pandas

    if category:
        return _told_by_codes(pandas.factorize(values)[0], targets)
    missing = np.isnan(values)
    told = _told_by_codes(missing.astype(np.int64), targets) if missing.any() else ""
    if told:
        return "is missing just where the target has certain values"
    return _told_by_codes(np.unique(values, return_inverse=True)[1], targets) or _told_by_size(values, missing, targets)


def _told_by_codes(codes: np.ndarray, targets: Targets) -> str:
    """Each value of the feature comes with only one target, and has come often enough to say so."""
    several = int(codes.max()) + 1
    places = np.unique(targets.values, return_inverse=True)[1]
    if several > max(len(codes) / _FINE, int(places.max()) + 1) or several > len(codes) / 2:
        return ""
    pairs = len(np.unique(codes * (int(places.max()) + 1) + places))
    if pairs != several:
        return ""
    return "is the target under other names" if several == int(places.max()) + 1 else "tells the target in every row"


def _told_by_size(values: np.ndarray, missing: np.ndarray, targets: Targets) -> str:
    """Sorted by the feature, the target is sorted too: a copy, a scaled one, or one threshold between classes."""
    known, wanted = values[~missing], targets.values[~missing]
    if len(known) < max(LEAST_ROWS, len(values) / 2) or len(np.unique(known)) < 2:
        return ""
    if targets.task.classifies:
        return "separates the classes by thresholds alone" if _in_blocks(known, wanted, targets.classes) else ""
    if len(np.unique(wanted)) < _FINE:
        return ""
    if abs(float(np.corrcoef(known, wanted)[0, 1])) > 1 - 1e-10:
        return "is the target in other units"
    return "rises or falls with the target in every row" if _monotone(known, wanted) else ""


def _in_blocks(known: np.ndarray, classes: np.ndarray, several: int) -> bool:
    """Whether intervals of the feature, one a class, hold that class alone, every class being there."""
    lows = [known[classes == c].min(initial=np.inf) for c in range(several)]
    highs = [known[classes == c].max(initial=-np.inf) for c in range(several)]
    order = np.argsort(lows)
    ends = [(lows[c], highs[c]) for c in order]
    return all(np.isfinite(lows)) and all(a[1] < b[0] for a, b in pairwise(ends))


def _monotone(known: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal features have equal targets, larger ones larger targets (or smaller ones, everywhere)."""
    feature, target = (np.unique(v, return_inverse=True)[1] for v in (known, wanted))
    return bool((feature == target).all() or (feature == target.max() - target).all())
