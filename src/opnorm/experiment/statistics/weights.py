"""How a claim's level is shared out before the run: half of it for the measure that leads, half for all the others.

A claim's question is asked of its leading measure; the others say where an effect comes from. With equal shares every
measure that is added would take from the one that the verdict's sentence speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence

LEAD = 0.5
"""Share of a claim's level that its leading measure has to itself, where there are others."""


def weights_of(leading: Sequence[bool]) -> list[float]:
    """Of a claim's comparisons, from whether each is of the leading measure: `LEAD` of the level is shared by those."""
    first = sum(leading)
    rest = len(leading) - first
    if not first or not rest:
        return [1.0] * len(leading)
    return [LEAD / first if leads else (1 - LEAD) / rest for leads in leading]
