"""The title's question, "can spectral norm improve my model?", answered in a sentence and three numbers.

Only the primary claim's leading measure answers it, and only arms that hold a spectral technique can make the answer
yes: where plain weight decay alone helps, the answer says so instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opnorm.experiment.document import Answer, Comparison, TrialReport, Verdict
from opnorm.report.trial import arms, words

QUESTION = "Can spectral norm improve my model?"

GRAVITY = {Answer.HELPS: "calm", Answer.HURTS: "serious", Answer.SAME: "note", Answer.OPEN: "warning"}

_SAID = {Answer.HELPS: " helps", Answer.HURTS: " hurts", Answer.SAME: " is practically the same", Answer.OPEN: ""}
_ALL = {
    Answer.HURTS: ("No, it hurts.", "No spectral arm helps."),
    Answer.SAME: ("It makes no practical difference.", "No spectral arm helps."),
    Answer.OPEN: ("There is not enough evidence.", "The question stays open."),
}
_METRICS = {
    "r2": "R²", "roc_auc": "area under the ROC curve", "neg_log_loss": "log loss, negated",
    "neg_mae": "mean absolute error, negated", "neg_bits_per_char": "bits a character, negated",
}  # fmt: skip
"""Metrics whose names on the command line are no words."""


@dataclass(frozen=True, slots=True)
class Headline:
    """opening: the answer in a few words. rest: what it rests on. gravity: the class that the opening is shown in."""

    opening: str
    rest: str
    gravity: str


@dataclass(frozen=True, slots=True)
class Number:
    """One of the three numbers: its value, what it is, and a line below it."""

    value: str
    title: str
    below: str


def primary(report: TrialReport) -> Verdict | None:
    """The verdict of the primary claim, of the first where it is missing."""
    named = [v for v in report.verdicts if v.claim == report.design.primary]
    return next(iter([*named, *report.verdicts]), None)


def leading(verdict: Verdict | None) -> list[Comparison]:
    """The comparisons that a verdict's sentence speaks of: its leading measure, at full data where there is that."""
    found = [c for c in verdict.comparisons if c.measure == verdict.lead] if verdict else []
    found = found or (list(verdict.comparisons) if verdict else [])
    first = next((c for c in found if c.condition == "full"), found[0] if found else None)
    return [c for c in found if first and (c.measure, c.condition) == (first.measure, first.condition)]


def is_spectral(report: TrialReport, arm: str) -> bool:
    """Whether the question is about this arm; about all of them where the report does not say."""
    return arm != report.design.baseline if report.spectral is None else arm in report.spectral


def best(report: TrialReport) -> Comparison | None:
    """The comparison that is put first: the winner's, else the spectral arm's with the largest difference."""
    found = leading(primary(report))
    spectral = [c for c in found if is_spectral(report, c.arm)]
    helping = [c for c in spectral if c.answer is Answer.HELPS]
    winner = [c for c in spectral if c.arm == report.winner]
    return max(winner or helping or spectral or found, key=_height, default=None)


def _height(comparison: Comparison) -> float:
    return comparison.difference if comparison.difference is not None else float("-inf")


def headline(report: TrialReport) -> Headline:
    """The answer as a sentence."""
    chosen, found = best(report), leading(primary(report))
    if chosen is None:
        return Headline("No answer yet.", "No arm could be compared with the baseline.", "warning")
    spectral = [c for c in found if is_spectral(report, c.arm)]
    others = _others([c for c in found if c not in (*spectral, chosen)], also=chosen.answer is Answer.HELPS)
    if not spectral:
        return Headline("No spectral arm was tried.", f"{_sentence(report, chosen)}{others}", "note")
    if chosen.answer is Answer.HELPS:
        alarm = alarms(report, chosen)
        opening, gravity = ("Yes, but the control moved too.", "warning") if alarm else ("Yes.", "calm")
        return Headline(opening, f"{_sentence(report, chosen)}{others}", gravity)
    opening, gravity = _without_help(spectral)
    return Headline(opening, f"{_sentence(report, chosen)}{_needed(chosen)}{others}", gravity)


def alarms(report: TrialReport, comparison: Comparison) -> list[Comparison]:
    """Controls of the same measure that came out as helping or hurting: the baseline against itself."""
    key = (comparison.measure, comparison.condition)
    moved = (Answer.HELPS, Answer.HURTS)
    return [c for c in report.controls if (c.measure, c.condition) == key and c.answer in moved]


def _without_help(spectral: Sequence[Comparison]) -> tuple[str, str]:
    answers = {c.answer for c in spectral}
    if len(answers) == 1:
        (answer,) = answers
        return _ALL[answer][0], GRAVITY[answer]
    return ("No help was found.", "warning") if Answer.OPEN in answers else ("No spectral arm helps.", "note")


def _sentence(report: TrialReport, comparison: Comparison) -> str:
    """'cap helps: test accuracy +0.019 against plain training (95 % interval +0.011 to +0.027).'."""
    arm, base = words.name(comparison.arm), arms.baseline(comparison.baseline)
    if comparison.difference is None:
        return f"{arm} could not be compared with {base}."
    title, unit = _title(report, comparison), words.unit(comparison)
    difference = f"{words.signed(comparison, comparison.difference)}{'' if unit.strip() in title else unit}"
    said = f"{arm}{_SAID[comparison.answer]}: {title} {difference} against {base}"
    around = f" ({words.confidence(comparison)} interval {words.interval(comparison)})" if comparison.interval else ""
    return f"{said}{around}."


def _title(report: TrialReport, comparison: Comparison) -> str:
    """'test accuracy' where the title is 'test score', as it stands within a sentence; 'AUC' stays as it is."""
    metric = _METRICS.get(report.design.metric) or words.name(report.design.metric).replace("_", " ")
    title = words.name(comparison.title, 60).replace("score", metric, 1)
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _others(plain: Sequence[Comparison], also: bool) -> str:
    """What the arms without a spectral technique did, where one of them helps: the reader would want to know."""
    found = [
        f"{words.name(c.arm)} ({words.signed(c, c.difference)})"
        for c in sorted(plain, key=_height, reverse=True)
        if c.answer is Answer.HELPS
    ]
    verb = f"help{'s' * (len(found) == 1)}{' too' * also}"
    return f" Without spectral norm, {words.listed(found, 4)} {verb}." if found else ""


def _needed(comparison: Comparison) -> str:
    if comparison.answer is not Answer.OPEN or comparison.p_differs is None or comparison.note:
        return ""
    if comparison.needed is None:
        return " At this spread more seeds would not decide; more rows, or a wider margin declared before, might."
    if comparison.needed <= len(comparison.pairs):
        return ""
    return f" At this spread about {words.counted(comparison.needed, 'seed')} would decide."


def numbers(report: TrialReport) -> list[Number]:
    """Difference, seeds, probability."""
    chosen = best(report)
    return [_difference(report, chosen), _seeds(report, chosen), _better(chosen)]


def _difference(report: TrialReport, chosen: Comparison | None) -> Number:
    if chosen is None or chosen.difference is None:
        return Number("–", "difference to the baseline", "nothing could be compared")
    title = f"{_title(report, chosen)}, {words.name(chosen.arm)} against {arms.baseline(chosen.baseline)}"
    interval = f"{words.confidence(chosen)} interval {words.interval(chosen)}; " if chosen.interval else ""
    value = f"{words.signed(chosen, chosen.difference)}{words.unit(chosen)}"
    return Number(value, title, f"{interval}margin {words.margin(chosen)}")


def _seeds(report: TrialReport, chosen: Comparison | None) -> Number:
    count, used = len(report.design.seeds), len(chosen.pairs) if chosen else 0
    title = "seed" if count == 1 else "seeds, the same for every arm"
    if used < count:
        return Number(f"{used} of {count}", f"{title}", "the others failed or are missing; they are listed below")
    return Number(f"{count}", title, words.counted(len(report.records), "model") + " measured on test data, once each")


def _better(chosen: Comparison | None) -> Number:
    if chosen is None or chosen.better is None:
        return Number("–", "probability that it is better by more than the margin", "")
    below = f"practically the same {words.chance(chosen.same)}, worse {words.chance(chosen.worse)}"
    return Number(
        words.chance(chosen.better),
        f"probability that {words.name(chosen.arm)} is better by more than the margin",
        below,
    )
