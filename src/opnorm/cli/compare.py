"""`opnorm compare`: what changed between two checkpoints, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opnorm import __version__
from opnorm.cli.codes import CONTRADICTION, FAILED, REFUSED, gravest
from opnorm.cli.options import Options, common_options
from opnorm.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from opnorm.report.document import Report


@click.command()
@click.argument("base", metavar="BASE")
@click.argument("tuned", metavar="TUNED")
@click.option(
    "--fail-above", "ceiling", type=float, metavar="R", help="Exit 1 unless every layer's ‖ΔW‖/‖W‖ is at most R."
)
@common_options
def compare(base: str, tuned: str, ceiling: float | None, options: Options) -> int:
    """Bracket what changed from BASE to TUNED: two checkpoints of one model, or a base and a LoRA adapter."""
    from opnorm.cli.outputs import check_outputs, publish, say
    from opnorm.report.comparing import show, sort_changes
    from opnorm.report.drift import judge, show_verdicts
    from opnorm.report.text import show_findings

    if ceiling is not None and not ceiling >= 0:
        raise UsageError(f"--fail-above {ceiling} is not possible: give a number of at least 0")
    if options.csv is not None:
        raise UsageError("a comparison has no rows for --csv; --json FILE has all of it")
    if options.insight or options.tokenizer is not None or options.features is not None:
        raise UsageError(
            "a comparison looks at ΔW and names no directions: --insight, --tokenizer and --features are for measure"
        )
    sort = "drift" if options.sort == "file" else options.sort
    sort_changes((), sort)
    check_outputs(options, (base, tuned))
    report = _report(base, tuned, options)
    assert report.comparison is not None
    for finding in report.findings:
        if not finding.code.startswith("ON"):
            say(finding.message)
    codes = {f.code for f in report.findings}
    trouble = REFUSED if "file-refused" in codes else 0, CONTRADICTION if "contradiction" in codes else 0
    verdicts = None if ceiling is None else judge(report.comparison, ceiling)
    passed = verdicts is None or (report.complete and all(v.holds is True for v in verdicts))

    def shown(report: Report, console: Console) -> None:
        show(report, console, sort=sort, top=options.top)
        show_findings(report, console)
        if verdicts is not None and ceiling is not None:
            show_verdicts(verdicts, ceiling, console)

    return gravest(*trouble, 0 if passed else FAILED, publish(report, options, shown))


def _report(base: str, tuned: str, options: Options) -> Report:
    from opnorm.bound import Evidence
    from opnorm.cli.inputs import shown_progress, thresholds_of
    from opnorm.linalg.request import Request
    from opnorm.readers import open_checkpoint
    from opnorm.report.comparing import comparison_report
    from opnorm.report.survey import Selection

    request = Request(Evidence.parse(options.evidence), options.width, options.seed)
    selection, thresholds = Selection(options.only, options.skip), thresholds_of(options)
    with (
        open_checkpoint(base, options.input_shape) as before,
        open_checkpoint(tuned, options.input_shape) as after,
        shown_progress(options.quiet) as progress,
    ):
        for checkpoint in (before, after):
            if checkpoint.problems and not checkpoint.files:
                raise checkpoint.problems[0]
        return comparison_report(before, after, request, selection, __version__, progress, options.jobs, thresholds)
