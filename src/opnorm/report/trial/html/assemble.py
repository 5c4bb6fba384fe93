"""The page of a trial: templates, one style sheet, one script and the payload, as one text.

Style, script and policy are those of the other reports (`opnorm.report.html`) with a few additions. The same report
gives the same text. Cost: a second for a thousand models.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from opnorm.experiment.document import Answer, Comparison, TrialReport
from opnorm.report.html.assemble import PACKAGE, environment_of, joined_assets, policy_of
from opnorm.report.trial import answer, arms, words
from opnorm.report.trial.html import costs, curves, estimation, ledger, payload, rules, tuning
from opnorm.report.trial.points import in_points

if TYPE_CHECKING:
    from jinja2 import Environment

STYLES = ("base.css", "parts.css", "charts.css", "print.css")
SCRIPTS = ("base.js", "store.js", "tips.js")
_SIZE, _LEAST = 980_000, 150_000
"""Bytes of a page; bytes that the report inside it may always take."""
_SHORT = 60
"""Characters of a fact that is shown with the answer; longer ones are unfolded."""
_DOTS = 2500
"""Beyond so many dots they no longer say what they are: the page would grow by megabytes."""


def page(report: TrialReport) -> str:
    """`report` as one self-contained HTML file."""
    style, script = (
        f"{joined_assets(STYLES)}{_own('trial.css')}",
        f'"use strict";(() => {{\n{joined_assets(SCRIPTS)}{_own("trial.js")}}})();\n',
    )
    around = _context(in_points(report)) | {"style": style, "script": script, "policy": policy_of(style, script)}
    template = _environment().get_template("trial.html")
    room = max(_LEAST, _SIZE - len(template.render(around, block="", kept="").encode()))
    block, kept = payload.payload(report, room)
    return template.render(around, block=block, kept=kept)


def _context(report: TrialReport) -> dict[str, Any]:
    """What the templates show."""
    telling = sum(len(c.pairs) for v in report.verdicts for c in v.comparisons) <= _DOTS
    return {
        "report": report,
        "design": report.design,
        "title": answer.QUESTION,
        "question": answer.QUESTION,
        "told": answer.headline(report),
        "numbers": answer.numbers(report),
        "glossary": arms.glossary(report.design.arms),
        "facts": _facts(report),
        "claims": [
            (v, _grouped(answer.leading(v)), estimation.measures(v.comparisons, telling)) for v in report.verdicts
        ],
        "primary": answer.primary(report),
        "controls": estimation.measures(report.controls, telling),
        "moved": [c for c in report.controls if c.answer in (Answer.HELPS, Answer.HURTS)],
        "costs": costs.table(report.costs),
        "curves": curves.curves(report),
        "tuned": tuning.lines(report),
        "trainings": tuning.trainings(report),
        "failures": ledger.failures(report),
        "left_out": ledger.left_out(report),
        "missing": ledger.missing(report),
        "tally": ledger.tally(report),
        "records": ledger.table(report),
        "rules": rules.rules(report.design),
    }


def _facts(report: TrialReport) -> list[tuple[str, str | int | float]]:
    """What fits on one line, in the order that the subject tells it."""
    return [(k, v) for k, v in report.subject.items() if len(str(v)) <= _SHORT][:4]


def _grouped(found: list[Comparison]) -> list[tuple[Answer, str]]:
    """Each answer that occurs, and the arms that it is of."""
    arms = {kind: [words.name(c.arm) for c in found if c.answer is kind] for kind in Answer}
    return [(kind, words.listed(names, 12)) for kind, names in arms.items() if names]


def _own(name: str) -> str:
    return (files("opnorm.report.trial.html") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., Any]] = {
        "name": words.name,
        "line": words.line,
        "parts": words.parts,
        "symbol": words.SYMBOL.__getitem__,
        "p": words.p_value,
        "signed": words.signed,
        "interval": words.interval,
        "capital": words.capital,
        "condition": ledger.condition_of,
        "counted": words.counted,
        "shown": _shown,
        "setting": words.plain_setting,
    }
    return environment_of(("opnorm.report.trial.html", PACKAGE), filters)


def _shown(value: str | int | float) -> str:
    """A fact about the subject."""
    if isinstance(value, str):
        return words.name(value, 4000)
    return f"{value:,}" if isinstance(value, int) else words.value(value)
