"""Measure everything given on the command line; one input that fails does not stop the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opnorm.bound import Evidence
from opnorm.cli.codes import REFUSED, exit_code, gravest
from opnorm.cli.options import Options
from opnorm.cli.outputs import console_on, say
from opnorm.errors import OpnormError, UsageError
from opnorm.linalg.request import Request
from opnorm.readers import open_checkpoint
from opnorm.report.display import display_name
from opnorm.report.findings import DEFAULT, Thresholds, read_thresholds
from opnorm.report.survey import Progress, Selection, Survey

if TYPE_CHECKING:
    from opnorm.report.insight import Insight


def survey_of(
    paths: tuple[str, ...], options: Options, ceiling: float | None = None, insight: Insight | None = None
) -> tuple[Survey, int]:
    """The survey of all inputs that could be opened, and the gravest code of those that could not.

    insight: what to look at where the options ask for none.
    """
    request = Request(Evidence.parse(options.evidence), options.width, options.seed, ceiling=ceiling)
    selection, thresholds = Selection(options.only, options.skip), thresholds_of(options)
    survey = Survey(request, selection, options.jobs, insight_of(options) or insight, thresholds)
    code = add_all(survey, paths, options)
    refused = any(f.code == "file-refused" for f in survey.findings)
    code = gravest(code, REFUSED if refused and not code else code)
    if not survey.rows and not code and not survey.interrupted:
        raise UsageError(_nothing(options))
    for finding in survey.findings:
        say(finding.message)
    return survey, code


def add_all(survey: Survey, paths: tuple[str, ...], options: Options) -> int:
    """Measure every input, until one is interrupted; the gravest code of those that could not be opened."""
    code = 0
    with shown_progress(options.quiet) as progress:
        for path in paths:
            try:
                with open_checkpoint(path, options.input_shape) as checkpoint:
                    survey.add(checkpoint, progress)
            except OpnormError as error:
                survey.refuse(error)
                code = gravest(code, exit_code(error))
            if survey.interrupted:
                break
    return code


def thresholds_of(options: Options) -> Thresholds:
    """From which figure on something is a finding."""
    return DEFAULT if options.findings is None else read_thresholds(options.findings)


def insight_of(options: Options) -> Insight | None:
    """What to look at beyond norms: asked for by --insight, or by what only makes sense with it."""
    named = options.tokenizer is not None or options.features is not None
    wanted = options.insight if options.insight is not None else options.html is not None or named
    if named and not wanted:
        raise UsageError("--tokenizer and --features name directions, which --no-insight leaves out")
    if not wanted:
        return None
    from opnorm.report.insight import Insight
    from opnorm.spectrum.directions.labels import Labels

    return Insight(Labels.read(tokenizer=options.tokenizer, features=options.features))


def _nothing(options: Options) -> str:
    if options.only or options.skip:
        return "no tensor matches --only and --skip; run without them to see the names"
    return "there are no weights in what was given: no tensor that is not optimizer state"


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console_on(sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, number, total: bar.update(
            task, completed=number, total=total, description=display_name(name, 60)
        )
