"""The command. Results go to standard output, progress and messages to standard error.

Exit codes: 0 done, 1 a check failed, 2 usage, 3 a file refused, 4 reading or writing failed,
70 two bounds contradict each other, 130 interrupted; the gravest wins: 130, 70, 4, 2, 3, 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from opnorm import __version__
from opnorm.errors import CheckpointError, FileAccessError, OpnormError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from opnorm.report.document import Report
    from opnorm.report.survey import Progress, Survey

FAILED, USAGE, REFUSED, ACCESS, CONTRADICTION, INTERRUPTED = 1, 2, 3, 4, 70, 130
GRAVEST = (INTERRUPTED, CONTRADICTION, ACCESS, USAGE, REFUSED, FAILED)
DEMO_MODEL = Path(__file__).parent / "demo" / "digits.safetensors"


@dataclass
class Options:
    """What the common options say."""

    evidence: str
    width: float
    only: tuple[str, ...]
    skip: tuple[str, ...]
    sort: str
    top: int | None
    seed: int
    jobs: int
    json: str | None
    csv: str | None
    quiet: bool


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every measuring verb takes, gathered into one `Options`."""

    def gathered(**given: Any) -> Any:
        fields = {name: given.pop(name) for name in Options.__dataclass_fields__}
        return command(options=Options(**fields), **given)

    gathered.__name__, gathered.__doc__ = command.__name__, command.__doc__
    gathered.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(_COMMON):
        option(gathered)
    return gathered


_COMMON = (
    click.option(
        "--evidence",
        type=click.Choice(["estimate", "probable", "proved"]),
        default="probable",
        show_default=True,
        help="The least evidence to reach.",
    ),
    click.option(
        "--width", type=float, default=0.01, show_default=True, help="Relative width of the bracket to reach."
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="GLOB",
        help="Measure only matching names; * crosses dots. Repeatable.",
    ),
    click.option("--skip", multiple=True, metavar="GLOB", help="Leave out matching names. Repeatable."),
    click.option("--sort", default="file", show_default=True, metavar="COLUMN", help="Order of the table."),
    click.option("--top", type=click.IntRange(min=1), metavar="N", help="Show at most N rows of the table."),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of the random start vectors.",
    ),
    click.option(
        "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Tensors measured at a time."
    ),
    click.option("--json", metavar="FILE", help="Write the report as JSON; - for standard output."),
    click.option("--csv", metavar="FILE", help="Write the rows as CSV; - for standard output."),
    click.option("--quiet", is_flag=True, help="No table, no progress: exit code and files only."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="opnorm")
def cli() -> None:
    """Spectral norms of model weights: measured, bracketed and proved."""


@cli.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@common_options
def measure(paths: tuple[str, ...], options: Options) -> int:
    """Bracket the spectral norm of every weight in files or folders (safetensors, npz, npy)."""
    survey, code = _survey(paths, options)
    report = survey.report(__version__)
    return gravest(code, _publish(report, options, _show_table), _contradictions(report))


@cli.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--max", "ceiling", type=float, required=True, metavar="C", help="The largest spectral norm allowed.")
@common_options
def check(paths: tuple[str, ...], ceiling: float, options: Options) -> int:
    """Exit 0 only if every weight's spectral norm is at most C; a weight that cannot be judged fails."""
    from opnorm.report.gate import judge

    if not ceiling >= 0:
        raise UsageError(f"--max {ceiling} is not possible: give a number of at least 0")
    survey, code = _survey(paths, options)
    report = survey.report(__version__)
    verdicts = judge(report, ceiling)
    bad = [v for v in verdicts if v.holds is not True]
    passed = bool(verdicts) and not bad and report.complete

    def show(_: Report, console: Console, __: Options) -> None:
        for verdict in bad:
            console.out(("FAIL  " if verdict.holds is False else "UNKNOWN  ") + verdict.reason, highlight=False)
        outcome = "PASS" if passed else "FAIL"
        console.out(
            f"{outcome}  {len(verdicts) - len(bad)} of {len(verdicts)} weights have σ₁ ≤ {ceiling:g}",
            highlight=False,
        )

    return gravest(code, _publish(report, options, show), _contradictions(report), 0 if passed else FAILED)


@cli.command()
@click.argument("topic", required=False)
def explain(topic: str | None) -> int:
    """Explain a method or a word of the report, such as lanczos, gram, proved or width."""
    from opnorm.explain import explanation, topics

    if topic is None:
        click.echo("Topics: " + ", ".join(topics()))
    else:
        click.echo(explanation(topic))
    return 0


@cli.command()
@common_options
def demo(options: Options) -> int:
    """Measure a small model that comes with opnorm (digits, trained by scripts/train_digits.py)."""
    survey, code = _survey((str(DEMO_MODEL),), options)
    return gravest(code, _publish(survey.report(__version__), options, _show_table))


def _survey(paths: tuple[str, ...], options: Options) -> tuple[Survey, int]:
    """Measure all inputs; what could not be opened is a message and a code, and the rest goes on."""
    from opnorm.bound import Evidence
    from opnorm.linalg.request import Request
    from opnorm.readers import open_checkpoint
    from opnorm.report.survey import Selection, Survey
    from opnorm.report.text import sort_rows

    sort_rows([], options.sort)
    _check_outputs(options)
    request = Request(Evidence.parse(options.evidence), options.width, options.seed)
    survey, code = Survey(request, Selection(options.only, options.skip), options.jobs), 0
    with _progress(options) as progress:
        for path in paths:
            try:
                with open_checkpoint(path) as checkpoint:
                    survey.add(checkpoint, progress)
            except KeyboardInterrupt:
                survey.complete = False
                return survey, gravest(code, INTERRUPTED)
            except OpnormError as error:
                survey.refuse(error)
                code = gravest(code, exit_code(error))
    code = gravest(code, REFUSED if any(f.code == "file-refused" for f in survey.findings) else 0)
    if not survey.rows and not code:
        raise UsageError("no tensor matches --only and --skip; run without them to see the names")
    for finding in survey.findings:
        _say(finding.message)
    return survey, code


def _check_outputs(options: Options) -> None:
    """Refuse an output that cannot be written before hours of measuring, not after."""
    files = [f for f in (options.json, options.csv) if f is not None]
    if files.count("-") > 1:
        raise UsageError("--json - and --csv - both ask for standard output; give one of them a file")
    for file in files:
        parent = Path(file).parent
        if file != "-" and (not parent.is_dir() or Path(file).is_dir() or not os.access(parent, os.W_OK)):
            raise FileAccessError(f"{file}: cannot be written; give a file in an existing, writable folder")


def _publish(report: Report, options: Options, show: Callable[[Report, Console, Options], None]) -> int:
    from opnorm.report.machine import to_csv, write_whole

    code, to_stdout = 0, False
    for file, text in ((options.json, report.to_json), (options.csv, lambda: to_csv(report))):
        if file == "-":
            to_stdout = True
            click.echo(text(), nl=False)
        elif file is not None:
            try:
                write_whole(file, text())
            except FileAccessError as error:
                _say(str(error))
                code = ACCESS
    if not options.quiet and not to_stdout:
        show(report, _console(sys.stdout), options)
    return code


def _show_table(report: Report, console: Console, options: Options) -> None:
    from opnorm.report.text import show

    show(report, console, sort=options.sort, top=options.top)


def _contradictions(report: Report) -> int:
    return CONTRADICTION if any(f.code == "contradiction" for f in report.findings) else 0


def _console(stream: Any) -> Console:
    from rich.console import Console

    # A pipe has no width: lines must not be cut to fit one.
    width = None if stream.isatty() else 200
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def _progress(options: Options) -> Iterator[Progress]:
    if options.quiet or not sys.stderr.isatty():
        with nullcontext():
            yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from opnorm.report.display import display_name

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, number, total: bar.update(
            task, completed=number, total=total, description=display_name(name, 60)
        )


def exit_code(error: OpnormError) -> int:
    """The code for an error that ends one input."""
    if isinstance(error, FileAccessError):
        return ACCESS
    return REFUSED if isinstance(error, CheckpointError) else USAGE


def gravest(*codes: int) -> int:
    """The code that takes precedence."""
    return min(codes, key=lambda c: GRAVEST.index(c) if c in GRAVEST else len(GRAVEST))


def _say(message: str) -> None:
    from opnorm.report.display import display_name

    click.echo(f"opnorm: {display_name(message, 2000)}", err=True)


def main() -> NoReturn:
    """Run the command and exit with its code; a user's mistake never shows a traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        code = INTERRUPTED
    except OpnormError as error:
        _say(str(error))
        code = exit_code(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
