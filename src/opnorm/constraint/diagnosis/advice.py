"""What a gate's history means, in words: one line a layer, and what to change where a ceiling harms.

The risk that a ceiling carries is over-penalization: the loss wants a direction that the gate takes away again, step
after step. It shows as moves on nearly every visit and an outward push (the cosine of −gradient with the outward
normal, about 1/√(mn) for a random gradient); where weights are scaled whole, as a falling stable rank; where they are
clipped, as ever more singular values at the ceiling. Advice names what it was inferred from.

Data: gate → summaries (one transfer a device) → `GateReport`. Guarantee: none, all figures are estimates. Cost: that
transfer.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opnorm.constraint.diagnosis.history import summaries
from opnorm.constraint.diagnosis.summary import Summary
from opnorm.constraint.rules import Technique

if TYPE_CHECKING:
    from opnorm.constraint.gate import Gate

OFTEN = 0.8
"""Of moves: a ceiling that binds on four visits in five is where the weight lives, not a safeguard."""

RARELY = 0.01
"""Of moves: below, the ceiling costs time and does nothing."""

OUTWARD = 0.1
"""Cosine: 1 % of the gradient's square points straight out, far beyond what chance gives any layer over 30×30."""

RANK_LOST = 0.5
"""Of the stable rank at the start: half of the directions that carried the weight no longer do."""

FAR = 0.5
"""σ/ceiling: a ceiling of 1.2 times the free level stands at 0.83 and is a safeguard; at twice the level it is none."""

JOLT = 0.02
"""Of ‖W‖_F taken away by one move: as much as a large step of an optimizer, against it."""

LOOSE = 1.1
"""σ/ceiling after a move, from which a gate that is not keeping up is named."""

COSTLY = 0.15
"""Of the time in steps: the most that a hard case is meant to cost."""

FEW = 20
"""Moves, below which nothing is concluded."""

_FROZEN = "it is frozen, so that it is looked at and never moved: finalize raises where it lies above its ceiling"


@dataclass(frozen=True, slots=True)
class SiteReport:
    """One layer: what was done to it (`summary`), why it was done, and advice, empty where there is nothing to say."""

    summary: Summary
    technique: Technique
    first: float | None
    free: float | None
    advice: tuple[str, ...]

    def __str__(self) -> str:
        facts = ", ".join(_facts(self.summary, self.technique))
        return "\n".join([_wrapped(facts, f"{self.summary.name}: "), *(_wrapped(line, "  - ") for line in self.advice)])


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a gate did and cost. seconds: of the host in moves; share: of its time in steps."""

    sites: tuple[SiteReport, ...]
    steps: int
    seconds: float
    share: float
    unheld: tuple[tuple[str, str], ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        cost = f"{self.seconds:.3g} s in moves, {self.share:.1%} of the time in steps (as the host sees it)"
        head = f"{len(self.sites)} layers, {self.steps} steps, {cost}; every σ is an estimate from below"
        left = [_wrapped(f"not held, {reason}", f"{name}: ") for name, reason in self.unheld]
        return "\n".join([_wrapped(head), *map(str, self.sites), *left, *map(_wrapped, self.advice)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON may hold it."""
        return {
            "steps": self.steps, "seconds": self.seconds, "share": self.share, "advice": list(self.advice),
            "unheld": dict(self.unheld),
            "sites": [{**s.summary.to_dict(), "technique": s.technique, "advice": list(s.advice)} for s in self.sites],
        }  # fmt: skip


def _wrapped(text: str, start: str = "") -> str:
    """Lines of at most 80 columns."""
    return textwrap.fill(
        text, 80, initial_indent=start, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def report(gate: Gate, free: Mapping[str, float] | None = None) -> GateReport:
    """What `gate` did so far. free: each site's level in a free run, by name, as `Suggestion.levels` has it."""
    held = {h.site.name: h for h in gate.held}
    sites = []
    for summary in summaries([h.history for h in gate.held]):
        site, level = held[summary.name], (free or {}).get(summary.name)
        technique: Technique = "watch" if site.site.frozen else site.site.rule.technique
        advice = tuple(advise(summary, technique, site.first, level))
        if technique != site.site.rule.technique:
            advice = (_FROZEN, *advice)
        sites.append(SiteReport(summary, technique, site.first, level, advice))
    clock, unseen = gate.clock, [h.site.name for h in gate.held if not h.history.moves]
    advice = (*_of_unseen(unseen, gate.steps), *_of_cost(clock.share))
    return GateReport(tuple(sites), gate.steps, clock.moving, clock.share, gate.unheld, advice)


def _of_unseen(names: list[str], steps: int) -> Iterator[str]:
    if names and not steps:
        yield (
            f"{len(names)} layers wait for a first step: attach(optimizer) before training, to the optimizer that is "
            "stepped, or call gate.step() after each update"
        )
    elif names:
        shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        yield f"{len(names)} layers were never visited ({shown}): attach the gate to the optimizer that moves them, too"


def _of_cost(share: float) -> Iterator[str]:
    if share > COSTLY:
        yield (
            f"moves take {share:.0%} of the time: give opnorm.control a budget= (such as 0.08), or a larger every= to "
            "the rules of the largest layers"
        )


def _facts(s: Summary, technique: Technique) -> Iterator[str]:
    ceiling = f" (ceiling {s.hi:.3g})" if math.isfinite(s.hi) and s.hi > 0 else ""
    floor = f" (band {s.lo:.3g} to {s.hi:.3g})" if technique in ("band", "orthogonal") else ""
    yield f"σ ≈ {s.sigma:.3g}{floor or ceiling}"
    if technique in ("watch", "penalty"):
        yield f"looked at {_times(s.moves)}"
    else:
        steps = "" if s.moves == s.steps else f" ({s.acted_steps:.0%} of steps)"
        yield f"acted on {s.acted:.0%} of {s.moves} visits{steps}"
    if s.totals.acted:
        count = f"{s.totals.moved / s.totals.acted:.3g}"
        yield f"{count} singular value{'' if count == '1' else 's'} at a time"
    if s.share_removed and s.totals.acted:
        yield f"took away {s.share_removed:.2g} times its size in all"
    if s.push is not None:
        yield f"the loss pushes {'outward' if s.push > 0 else 'inward'} (cos {s.push:.2g})"
    yield from _rank_words(s)
    if s.jump is not None and s.totals.acted:
        yield f"a move changes the loss by about {s.jump:+.1g}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _rank_words(s: Summary) -> Iterator[str]:
    if s.ranks:
        before, now = s.ranks[0][1], s.ranks[-1][1]
        words = "fell" if now < 0.9 * before else "rose" if now > 1.1 * before else ""
        yield f"stable rank {words} from {before:.3g} to {now:.3g}" if words else f"stable rank {now:.3g}"


def advise(s: Summary, technique: Technique, first: float | None = None, free: float | None = None) -> Iterator[str]:
    """What to change, each with its reason; nothing where all is well or too little was seen.

    first: σ when the gate began; free: where σ settled in a run without it.
    """
    if s.totals.skipped:
        yield (
            f"{s.totals.skipped:.0f} visits found entries that are not finite and changed nothing: find the step that "
            "made them (learning rate, loss scale)"
        )
    if s.moves < FEW or not math.isfinite(s.hi) or s.hi <= 0:
        return
    if technique == "penalty":
        if s.sigma > 1.5 * s.hi:
            yield f"the penalty leaves σ at {s.sigma / s.hi:.2g} times its ceiling: raise weight=, or use opnorm.cap"
        return
    if technique in ("cap", "band"):
        yield from _of_ceiling(s, first, free)
    if s.sigma > LOOSE * s.hi:
        yield (
            f"σ was {s.sigma / s.hi:.3g} times its ceiling after the last move: one step moves it further than that; "
            "use a smaller every= or learning rate (finalize clips it in any case)"
        )


def _of_ceiling(s: Summary, first: float | None, free: float | None) -> Iterator[str]:
    outward = s.push is not None and s.push > OUTWARD
    pressed = bool(s.ranks) and s.ranks[-1][1] < RANK_LOST * s.ranks[0][1]
    if s.acted >= OFTEN and (outward or pressed):
        began = f"it began at {first:.3g}; " if first is not None and first > 1.2 * s.hi else ""
        level = f"try {free:.3g}, its free-run level," if free is not None else "find its free level by opnorm.suggest,"
        yield f"the ceiling is likely too tight: {began}{level} or use penalize"
    elif s.acted <= RARELY and s.sigma < FAR * s.hi:
        yield f"the ceiling does nothing: σ stays at {s.sigma / s.hi:.2g} of it; opnorm.watch costs less"
    each = (s.share_removed or 0.0) / s.totals.acted if s.totals.acted else 0.0
    if each > JOLT:
        less = "a lower learning rate" if s.moves == s.steps else "a smaller every="
        yield f"a move takes away {each:.1%} of the weight at once: use warmup=opnorm.anneal(...), or {less}"
