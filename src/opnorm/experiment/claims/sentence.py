"""Answers in plain words with their figures, and nothing that the figures do not say.

Shares of examples are said in points (hundredths); every other unit by its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from opnorm.experiment.claims.claim import Claim, Facts
from opnorm.experiment.document import Answer, Comparison, Design
from opnorm.experiment.statistics import least_seeds

IN_POINTS = ("accuracy", "balanced accuracy", "trainings", "probability")

ANSWERED = {
    Answer.HELPS: " helps",
    Answer.HURTS: " hurts",
    Answer.SAME: " is practically the same",
    Answer.OPEN: ": not enough evidence",
}


def sentence(claim: Claim, comparisons: Sequence[Comparison], facts: Facts) -> str:
    """Of one measure, each arm after the other; where no arm has an answer, that is said once."""
    measure = next(m for m in claim.measures if m.name == comparisons[0].measure)
    metric = facts.title.split(" (")[0].split(", the ")[0]
    what = re.sub(r"^(test|training) score", rf"\1 {metric}", measure.title)
    common = _common(comparisons, "pairs of seeds" if measure.seeds_each == 2 else "seeds")
    none = len(comparisons) > 1 and all(c.answer is Answer.OPEN for c in comparisons)
    heads = [c.arm if none else f"{c.arm}{ANSWERED[c.answer]}" for c in comparisons]
    told = "; ".join(_told(head, c) for head, c in zip(heads, comparisons, strict=True))
    return f"{claim.title}, by {what}{common}: {'not enough evidence for any arm: ' if none else ''}{told}."


def _common(comparisons: Sequence[Comparison], counted: str) -> str:
    """How many seeds and which intervals, once for all arms: ' (20 seeds, 95 % intervals)'."""
    seeds = max(len(c.pairs) + len(c.left_out) for c in comparisons)
    sure = {f", {100 * c.confidence:g} % intervals" for c in comparisons if c.interval is not None}
    return f" ({seeds} {counted}{''.join(sorted(sure))})"


def _told(head: str, c: Comparison) -> str:
    if c.difference is None:
        return f"{head} ({c.note or 'nothing to compare'})"
    left = f"{len(c.left_out)} left out" if c.left_out else ""
    inside = ", ".join(filter(None, (_interval(c), left, _likely(c), _wanted(c))))
    return f"{head}: {_amount(c, c.difference)} ({inside})"


def _interval(c: Comparison) -> str:
    return "" if c.interval is None else f"{_figure(c, c.interval[0])} to {_figure(c, c.interval[1])}"


def _likely(c: Comparison) -> str:
    """The probability of what is answered; of what is the likeliest where nothing is."""
    if c.better is None or c.same is None or c.worse is None:
        return ""
    edge = _edge(c)
    said = {
        Answer.HELPS: (c.better, f"better by more than {edge}"),
        Answer.HURTS: (c.worse, f"worse by more than {edge}"),
        Answer.SAME: (c.same, f"within {edge}"),
    }
    share, words = said[c.answer] if c.answer in said else max(said.values())
    return f"{_percent(share)} likely {words}"


def _wanted(c: Comparison) -> str:
    """Fewer seeds than were run are no advice."""
    open_ = c.answer is Answer.OPEN and c.needed is not None and c.needed > len(c.pairs)
    return f"about {c.needed} seeds would decide" if open_ else ""


def _percent(share: float) -> str:
    if share > 0.99:
        return "over 99 %"
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _amount(c: Comparison, value: float) -> str:
    return f"{_figure(c, value)} {'points' if c.unit in IN_POINTS else c.unit}"


def _edge(c: Comparison) -> str:
    """The margin."""
    if c.unit not in IN_POINTS:
        return f"{c.margin:g} {c.unit}"
    return f"{100 * c.margin:g} {'point' if 100 * c.margin == 1 else 'points'}"


def _figure(c: Comparison, value: float) -> str:
    """With one digit more than the margin's first, and a sign."""
    if c.unit in IN_POINTS:
        shown = f"{100 * value:+.1f}"
    else:
        shown = f"{value:+.{max(0, 1 - math.floor(math.log10(c.margin))) if c.margin > 0 else 3}f}"
    return shown.replace("-", "−") if float(shown) else "0"


def cautions(claim: Claim, comparisons: Sequence[Comparison], design: Design) -> list[str]:
    """What must be said beside the answers: that so few seeds can give none, and what else may lie behind one."""
    return [*_undecidable(claim, comparisons, design), *_hopeless(comparisons), *_causes(claim, comparisons)]


def _hopeless(comparisons: Sequence[Comparison]) -> list[str]:
    """Of the leading measure, where the spread seen leaves more seeds no chance."""
    lead = [c for c in comparisons if c.measure == comparisons[0].measure and c.answer is Answer.OPEN]
    arms = [c.arm for c in lead if c.p_differs is not None and c.needed is None and not c.note]
    if not arms:
        return []
    return [f"more seeds would not decide {', '.join(arms)}: more rows, or a wider margin declared before, might"]


def _undecidable(claim: Claim, comparisons: Sequence[Comparison], design: Design) -> list[str]:
    each = {m.name: m.seeds_each for m in claim.measures}
    lead = [c for c in comparisons if c.measure == comparisons[0].measure]
    pairs = each[comparisons[0].measure] == 2
    enough = each[comparisons[0].measure] * least_seeds(len(lead), design.level, len(comparisons) - len(lead))
    if len(design.seeds) >= enough:
        return []
    counted = f"{len(design.seeds)} seeds" + (f", {len(design.seeds) // 2} pairs of them," if pairs else "")
    asked = f"{len(lead)} comparison" if len(lead) == 1 else f"{len(lead)} comparisons"
    return [f"{counted} cannot decide {asked} whatever they give: {enough} seeds could"]


def _causes(claim: Claim, comparisons: Sequence[Comparison]) -> list[str]:
    """What else may be behind an answer, for the measures that came out other than open."""
    told = {c.measure for c in comparisons if c.answer in (Answer.HELPS, Answer.HURTS)}
    return [f"{m.title}: {m.caution}" for m in claim.measures if m.caution and m.name in told]
