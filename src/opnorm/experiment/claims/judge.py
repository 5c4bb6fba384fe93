"""From records to answers: every arm against the baseline in every measure of a claim, Holm's procedure within it.

The way: records → `rows` → `statistics.compare`, one a row → `statistics.decide`, all of a claim at once → verdict.
The number of comparisons follows from the design and the kind of data alone (`family_of`), never from results; so does
their weight: half of a claim's level is its leading measure's, and controls weigh alike.
Two rules stand above the tests: an arm that failed in more than half of the seeds gets no other answer than in its
failures; and there it 'hurts' if the baseline never failed. That one adds at most 1.1 % to the errors of an arm
(chance of more than half of n ≥ 6 trainings failing and of none of n others, at one and the same rate of failing).
Controls: the baseline against itself from another start, in every measure; Holm's procedure runs over all of a trial's
controls together, so that any of them comes out different in at most a share `level` of trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from opnorm.experiment import statistics
from opnorm.experiment.claims.claim import Claim, Facts, Measure, applicable, facts_of
from opnorm.experiment.claims.rows import FULL, Filed, Row, arms_of, compared, filed, overlap_of, row_of
from opnorm.experiment.claims.sentence import cautions, sentence
from opnorm.experiment.claims.table import CLAIMS, asked
from opnorm.experiment.document import AGAIN, Answer, Comparison, Design, Record, Verdict
from opnorm.experiment.subject import Subject

FAILURES = "failures"
"""Name of the measure that counts them."""


def judge(
    design: Design, records: Iterable[Record], subject: Subject
) -> tuple[tuple[Verdict, ...], tuple[Comparison, ...]]:
    """(a verdict for each claim that something was run for, the controls of the same measures)."""
    facts, found = facts_of(subject, design), filed(design, records)
    taken = [(claim, *applicable(claim, design, facts)) for claim in asked(design)]
    controls = _controls([(claim, measures) for claim, measures, _ in taken], design, facts, found)
    verdicts = []
    for claim, measures, reasons in taken:
        judged = _judged(claim, measures, design, facts, found)
        if judged:
            same = [control for control in controls if control.claim == claim.name]
            verdicts.append(_verdict(claim, judged, same, reasons, facts, design))
    return tuple(verdicts), controls


@dataclass(frozen=True, slots=True)
class Family:
    """What Holm's procedure corrects for in one claim: comparisons in the leading measure and in the others, all arms.

    each: seeds that make one value of the leading measure, 2 where values are of pairs of seeds.
    """

    leading: int
    others: int
    each: int = 1


def family_of(name: str, design: Design, subject: Subject) -> Family:
    """Follows from the design and the kind of data alone."""
    measures, _ = applicable(CLAIMS[name], design, facts_of(subject, design))
    counts = [len(compared(measure, arms_of(design))) for measure in measures]
    first = next((i for i, count in enumerate(counts) if count), None)
    if first is None:
        return Family(0, 0)
    return Family(counts[first], sum(counts) - counts[first], measures[first].seeds_each)


def _judged(
    claim: Claim, measures: Sequence[Measure], design: Design, facts: Facts, found: Filed
) -> tuple[Comparison, ...]:
    rows = [(claim, row_of(m, arm, design, found)) for m in measures for arm in compared(m, arms_of(design))]
    weights = statistics.weights_of([row.measure is rows[0][1].measure for _, row in rows])
    return tuple(_ruled(c, found) for c in _compared(rows, weights, design, facts, found)) if rows else ()


def _controls(
    taken: Sequence[tuple[Claim, Sequence[Measure]]], design: Design, facts: Facts, found: Filed
) -> tuple[Comparison, ...]:
    again = f"{design.baseline}@{AGAIN}"
    measures = [(claim, m) for claim, measures in taken for m in measures if m.against == "baseline"]
    rows = [(claim, row_of(m, again, design, found)) for claim, m in measures if found.of(again, m.condition)]
    return tuple(_doubted(c) for c in _compared(rows, None, design, facts, found)) if rows else ()


def _compared(
    rows: Sequence[tuple[Claim, Row]], weights: Sequence[float] | None, design: Design, facts: Facts, found: Filed
) -> tuple[Comparison, ...]:
    """One family of Holm's procedure."""
    overlap = overlap_of(found, design)
    paired = [statistics.compare(row.pairs, row.measure.margin(facts), overlap) for _, row in rows]
    decided = statistics.decide(paired, design.level, weights)
    return tuple(
        _comparison(claim, row, one, answer, level, facts)
        for (claim, row), one, (answer, level) in zip(rows, paired, decided, strict=True)
    )


def _comparison(
    claim: Claim, row: Row, one: statistics.Paired, answer: Answer, level: float, facts: Facts
) -> Comparison:
    measure = row.measure
    return Comparison(
        claim.name, measure.name, measure.title, measure.condition, row.arm, row.against, row.pairs, one.margin,
        measure.unit or facts.unit, one.difference, one.interval, one.confidence, one.bootstrap, one.p_differs,
        one.p_same, level, one.better, one.same, one.worse, answer, _needed(one, answer, level, measure),
        row.left_out, _noticed(one, row),
    )  # fmt: skip


def _noticed(one: statistics.Paired, row: Row) -> str:
    """Where a value takes two seeds, statistics counts pairs. And where nothing moved, there was nothing to see."""
    values = {value for pair in row.pairs for value in (pair.baseline, pair.arm)}
    if len(values) == 1 and len(row.pairs) > 1 and row.measure.name != FAILURES:
        return (
            f"every model of both arms scored {values.pop():.4g}: nothing was learned, or nothing could go wrong; "
            "longer training, more data or another metric may show more"
        )
    return one.note.replace(" seeds ", " pairs of seeds ") if row.measure.seeds_each == 2 else one.note


def _needed(one: statistics.Paired, answer: Answer, level: float, measure: Measure) -> int | None:
    """Seeds, not pairs of them, at the level that the answer was held against."""
    if answer is not Answer.OPEN or one.difference is None or one.spread is None:
        return None
    found = statistics.seeds_needed(one.difference, one.spread, one.margin, one.overlap, level)
    return None if found is None else found * measure.seeds_each


def _ruled(comparison: Comparison, found: Filed) -> Comparison:
    """The two rules about arms that fail."""
    sides = comparison.arm, comparison.baseline
    told = "; ".join(_failing(side, found) for side in sides if found.failed(side))
    most = tuple(side for side in sides if 2 * len(found.failed(side)) > len(found.of(side, FULL)))
    if comparison.measure == FAILURES:
        ruled = most == sides[:1] and not found.failed(comparison.baseline)
        return (
            replace(_noted(comparison, told), answer=Answer.HURTS, needed=None) if ruled else _noted(comparison, told)
        )
    if most:
        return _noted(replace(comparison, answer=Answer.OPEN, needed=None), f"{told}: what is left says little")
    return _noted(comparison, f"{told}: the others are compared") if told else comparison


def _failing(side: str, found: Filed) -> str:
    return f"{side} failed in {len(found.failed(side))} of {len(found.of(side, FULL))} seeds"


def _doubted(control: Comparison) -> Comparison:
    if control.answer in (Answer.HELPS, Answer.HURTS):
        return _noted(
            control, "the same arm with another start came out different: treat everything here with suspicion"
        )
    return control


def _noted(comparison: Comparison, note: str) -> Comparison:
    return replace(comparison, note="; ".join(filter(None, (comparison.note, note))))


def _verdict(
    claim: Claim,
    judged: tuple[Comparison, ...],
    controls: Sequence[Comparison],
    reasons: tuple[str, ...],
    facts: Facts,
    design: Design,
) -> Verdict:
    lead = judged[0].measure
    told = [c for c in judged if c.measure == lead]
    notes = [f"not taken: {reason}" for reason in reasons] + cautions(claim, judged, design)
    notes += [
        f"the control of nothing {c.answer} in {c.title}: {c.note}"
        for c in controls
        if c.answer in (Answer.HELPS, Answer.HURTS)
    ]
    return Verdict(claim.name, claim.title, claim.question, lead, sentence(claim, told, facts), judged, tuple(notes))
