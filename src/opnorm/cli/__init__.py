"""The command. Results go to standard output, progress and messages to standard error.

Exit codes: 0 done, 1 a check failed, 2 usage, 3 a file refused, 4 reading or writing failed,
70 two bounds contradict each other, 130 interrupted; the gravest wins: 130, 70, 4, 2, 3, 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from opnorm import __version__
from opnorm.cli.cap import cap
from opnorm.cli.check import check
from opnorm.cli.codes import CONTRADICTION, INTERRUPTED, exit_code, gravest
from opnorm.cli.compare import compare
from opnorm.cli.options import Options, common_options
from opnorm.cli.threads import share_cores
from opnorm.cli.trial import trial
from opnorm.errors import OpnormError

if TYPE_CHECKING:
    from rich.console import Console

    from opnorm.report.document import Report

DEMO_MODEL = Path(__file__).parent.parent / "demo" / "digits.safetensors"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="opnorm")
def cli() -> None:
    """Spectral norms of model weights: measured, bracketed and proved."""


@cli.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@common_options
def measure(paths: tuple[str, ...], options: Options) -> int:
    """Bracket the spectral norm of every layer in files or folders (safetensors, pt, pth, bin, ckpt, npz, npy)."""
    return _measure(paths, options)


@cli.command()
@common_options
def demo(options: Options) -> int:
    """Measure a small model that comes with opnorm (digits, trained by scripts/train_digits.py)."""
    return _measure((str(DEMO_MODEL),), options)


def _measure(paths: tuple[str, ...], options: Options) -> int:
    from opnorm.cli.inputs import survey_of
    from opnorm.cli.outputs import check_outputs, publish
    from opnorm.report.text import show, sort_rows

    sort_rows([], options.sort)
    check_outputs(options, paths)
    survey, code = survey_of(paths, options)
    report = survey.report(__version__)

    def table(report: Report, console: Console) -> None:
        show(report, console, sort=options.sort, top=options.top)
        if (options.insight or options.tokenizer or options.features) and not (options.json or options.html):
            console.print("Spectra, directions and links are not in this table: --html FILE or --json FILE has them")

    broken = CONTRADICTION if any(f.code == "contradiction" for f in report.findings) else 0
    stopped = INTERRUPTED if survey.interrupted else 0
    return gravest(code, broken, stopped, publish(report, options, table))


@cli.command()
@click.argument("topic", required=False)
def explain(topic: str | None) -> int:
    """Explain a method or a word of the report, such as lanczos, gram, proved or width."""
    from opnorm.explain import explanation, topics

    click.echo("Topics: " + ", ".join(topics()) if topic is None else explanation(topic).rstrip())
    return 0


for verb in (check, compare, cap, trial):
    cli.add_command(verb)


def main() -> NoReturn:
    """Run the command and exit with its code; a user's mistake never shows a traceback."""
    from opnorm.cli.outputs import say

    try:
        share_cores()
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        code = INTERRUPTED
    except OpnormError as error:
        say(str(error))
        code = exit_code(error)
    sys.exit(code if isinstance(code, int) else 0)
