"""`opnorm check`: measure, judge by a ceiling, a budget and a baseline, and tell people and programs."""

from __future__ import annotations

import glob
import os.path
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from opnorm import __version__
from opnorm.cli.codes import CONTRADICTION, FAILED, INTERRUPTED, USAGE, exit_code, gravest
from opnorm.cli.options import Options, common_options
from opnorm.cli.terms import Terms, read_terms
from opnorm.errors import OpnormError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from opnorm.report.budget.outputs import Outputs
    from opnorm.report.budget.verdict import Judgement, Verdict
    from opnorm.report.document import Report
    from opnorm.report.gate import Verdict as OfCeiling
    from opnorm.report.survey import Survey


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--max", "ceiling", type=float, metavar="C", help="The largest spectral norm allowed to every weight.")
@click.option(
    "--budget", metavar="TOML", help="Limits by name and kind, on any metric; also [tool.opnorm] of pyproject.toml."
)
@click.option("--baseline", metavar="JSON", help="What --write-baseline wrote: weights may drift from it as allowed.")
@click.option("--drift", type=float, metavar="R", help="Relative change from the baseline allowed to every weight.")
@click.option("--write-baseline", metavar="JSON", help="Write the baseline, if the check passes.")
@click.option("--junit", metavar="XML", help="Write the verdicts as JUnit XML.")
@click.option("--markdown", metavar="MD", help="Write the verdicts as Markdown.")
@click.option("--model-card", metavar="MD", help="Put norms and verdict into this model card, between markers.")
@click.option("--github", is_flag=True, help="Print annotations, and append to the step summary, of a GitHub workflow.")
@common_options
def check(
    paths: tuple[str, ...],
    ceiling: float | None,
    budget: str | None,
    baseline: str | None,
    drift: float | None,
    write_baseline: str | None,
    junit: str | None,
    markdown: str | None,
    model_card: str | None,
    github: bool,
    options: Options,
) -> int:
    """Exit 0 only if every limit is known to hold; a weight that cannot be judged fails.

    Limits: --max C on every weight's spectral norm, a --budget, a --baseline, or several of them.
    """
    from opnorm.cli.outputs import check_outputs
    from opnorm.report.budget.outputs import Outputs

    if (ceiling, budget, baseline, write_baseline) == (None, None, None, None):
        raise UsageError(
            "there is nothing to check: give --max C, --budget FILE, --baseline FILE or --write-baseline FILE"
        )
    terms = read_terms(ceiling, budget, baseline, drift, write_baseline is not None, options)
    kept = tuple(rule.metric for rule in terms.budget.rules if rule.drift is not None)
    outputs = Outputs(junit, markdown, model_card, write_baseline, github, kept)
    check_outputs(options, [*paths, *(f for f in (budget, baseline) if f is not None)])
    replaced = baseline is not None and write_baseline is not None and _same_file(baseline, write_baseline)
    sources = [*paths, *(f for f in (budget, None if replaced else baseline) if f is not None)]
    outputs.prepare(sources, [f for f in (options.json, options.csv, options.html) if f is not None])
    return _check(paths, terms, outputs)


def _same_file(one: str, other: str) -> bool:
    """Whether two names lead to one place."""
    return os.path.realpath(one) == os.path.realpath(other)


def _check(paths: tuple[str, ...], terms: Terms, outputs: Outputs) -> int:
    """Measure, judge, write: what the verb does once everything given makes sense."""
    from opnorm.cli.inputs import survey_of
    from opnorm.cli.outputs import publish, say
    from opnorm.report.budget.findings import with_verdicts

    survey, code = survey_of(paths, terms.measuring(), terms.ceiling, terms.insight())
    try:
        report = _closer(survey.report(__version__), terms, paths)
        outputs.require_fit(report)
        ceiling, verdicts = _ceiling(report, terms), _located(_verdicts(report, terms), report)
    except UsageError as error:
        say(str(error))
        return gravest(code, USAGE, INTERRUPTED if survey.interrupted else 0)
    judgement = _judgement([*_located(_of_ceiling(ceiling, terms), report), *verdicts], report, terms)
    codes = [code, 0 if judgement.passed else FAILED, *_grave(survey, report)]
    report = with_verdicts(report, verdicts)
    codes.append(publish(report, terms.options, _shown(ceiling, verdicts, judgement, terms), terms.ceiling))
    _annotate(judgement, outputs, terms)
    for problem in outputs.write(judgement, report):
        say(str(problem))
        codes.append(exit_code(problem) if isinstance(problem, OpnormError) else 0)
    return gravest(*codes)


def _closer(report: Report, terms: Terms, paths: tuple[str, ...]) -> Report:
    """The report, in which rows that straddle a limit of the budget are decided where that is possible."""
    from opnorm.report.budget.closer import straddling, with_bounds
    from opnorm.report.budget.judge import judge

    for limit, names in straddling(judge(report, terms.budget, terms.evidence, selected=terms.selected)).items():
        again = _measured_again(paths, names, limit, terms)
        if again.interrupted:
            raise KeyboardInterrupt
        report = with_bounds(report, again.report(__version__))
    return report


def _measured_again(paths: tuple[str, ...], names: Iterable[str], limit: float, terms: Terms) -> Survey:
    from opnorm.bound import Evidence
    from opnorm.cli.inputs import add_all
    from opnorm.linalg.request import Request
    from opnorm.report.survey import Selection, Survey

    options = terms.measuring()
    request = Request(Evidence.parse(options.evidence), options.width, options.seed, ceiling=limit)
    survey = Survey(request, Selection(tuple(glob.escape(name) for name in names)), options.jobs)
    add_all(survey, paths, options)
    return survey


def _ceiling(report: Report, terms: Terms) -> list[OfCeiling]:
    from opnorm.report.gate import judge

    return [] if terms.ceiling is None else judge(report, terms.ceiling)


def _verdicts(report: Report, terms: Terms) -> list[Verdict]:
    """Of the budget and of the baseline."""
    from opnorm.report.budget.drift import judge_drift
    from opnorm.report.budget.judge import judge, undefined
    from opnorm.report.survey import Selection

    evidence, options = terms.evidence, terms.options
    found = judge(report, terms.budget, evidence, selected=terms.selected)
    if terms.baseline is not None:
        selection = Selection(options.only, options.skip)
        found += judge_drift(report, terms.baseline, terms.budget, evidence, selection)
    return found if terms.ceiling is not None else found + undefined(report, found)


def _of_ceiling(verdicts: list[OfCeiling], terms: Terms) -> list[Verdict]:
    from opnorm.report.budget.judge import of_ceiling

    return [of_ceiling(verdict, terms.ceiling or 0.0) for verdict in verdicts]


def _located(verdicts: list[Verdict], report: Report) -> list[Verdict]:
    """With the files of their rows, where there are several."""
    if len(report.inputs) < 2:
        return verdicts
    return [replace(v, where=report.inputs[v.input].path if v.name else "") for v in verdicts]


def _judgement(verdicts: list[Verdict], report: Report, terms: Terms) -> Judgement:
    from opnorm.report.budget.judge import named_like_weights, without_rule
    from opnorm.report.budget.verdict import Judgement

    notes = named_like_weights(report, terms.budget)
    free = without_rule(report, terms.budget) if terms.budget.rules and terms.ceiling is None else []
    if free:
        refused = sum(row.status == "refused" for row in free)
        notes.append(
            f"{_weights(len(free))} no rule in the budget" + (f", {refused} of them refused" if refused else "")
        )
    if terms.budget.needs_baseline and terms.baseline is None:
        notes.append("drift was not judged, as the baseline is only written now")
    return Judgement(tuple(verdicts), report.complete, tuple(notes), terms.told(), terms.asked)


def _weights(number: int) -> str:
    return "1 weight has" if number == 1 else f"{number} weights have"


def _grave(survey: Survey, report: Report) -> tuple[int, int]:
    broken = any(f.code == "contradiction" for f in report.findings)
    return CONTRADICTION if broken else 0, INTERRUPTED if survey.interrupted else 0


def _shown(
    ceiling: list[OfCeiling], verdicts: list[Verdict], judgement: Judgement, terms: Terms
) -> Callable[[Report, Console], None]:
    """What to print: of --max as ever, then of the budget and baseline."""
    from opnorm.report import gate
    from opnorm.report.budget import show

    def shown(report: Report, console: Console) -> None:
        if terms.ceiling is not None:
            passed = bool(ceiling) and report.complete and all(v.holds is True for v in ceiling)
            gate.show(ceiling, passed, terms.ceiling, console)
        if terms.ceiling is None or verdicts:
            show.show(replace(judgement, verdicts=tuple(verdicts)), console)

    return shown


def _annotate(judgement: Judgement, outputs: Outputs, terms: Terms) -> None:
    """Annotations go to standard output, or where that is taken by a report, to standard error."""
    from opnorm.cli.outputs import pipe_may_close
    from opnorm.report.budget.github import commands

    if outputs.github:
        taken = "-" in (terms.options.json, terms.options.csv)
        with pipe_may_close():
            for line in commands(judgement, terms.budget.path):
                click.echo(line, err=taken)
