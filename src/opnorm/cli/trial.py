"""`opnorm trial`: "can spectral norm improve my model?", answered by an experiment and a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from opnorm.cli.codes import INTERRUPTED
from opnorm.cli.trial_outputs import Outputs, journal_of, publish

if TYPE_CHECKING:
    from opnorm.experiment.run.declare import Declared
    from opnorm.experiment.run.hold import Running
    from opnorm.experiment.subject import Subject

_COUNT = click.IntRange(min=1)
_SUBJECT = ("data", "target", "model", "metric", "task", "drop", "rows", "time", "group")
_WISHES = ("arms", "seeds", "conditions", "claims", "margin", "level", "budget", "tuner", "epochs", "batch")
_RUNNING = ("engine", "jobs", "restart", "minutes", "control", "cost")


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """('none', 'cap') from 'none,cap'."""
    return None if value is None else tuple(name for part in value.split(",") if (name := part.strip()))


def _seeds(_: click.Context, __: click.Parameter, value: str | None) -> int | tuple[int, ...] | None:
    """How many, or which: '10', or '3,5,8'."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
        raise click.BadParameter(f"{value!r}: give how many, such as 10, or which, such as 3,5,8")
    return int(parts[0]) if len(parts) == 1 else tuple(int(part) for part in parts)


@click.command()
@click.argument("script", required=False, metavar="[SCRIPT]")
@click.option("--data", metavar="DATA", help="A CSV, TSV or Parquet file, or a built-in set such as digits.")
@click.option("--target", metavar="COLUMN", help="The column to predict, of a table.")
@click.option("--model", metavar="NAME", help="A built-in model: mlp, linear, cnn, conv1d, charlm.")
@click.option(
    "--arms", callback=_names, metavar="A,B,…", show_default="none,l2,dropout,cap,cap+l2",
    help="Techniques to try, + joins them: none, l2, l1, dropout, early_stopping, torch_spectral_norm, cap, band, "
    "normalize, orthogonal, penalty, jacobian, same_norm.",
)  # fmt: skip
@click.option(
    "--seeds", callback=_seeds, metavar="N|S,T,…", show_default="20; 50 at most with --minutes",
    help="How many seeds, or which; each draws split, start and order.",
)  # fmt: skip
@click.option("--minutes", type=float, metavar="M", help="Plan as many seeds as fit, once the first is timed.")
@click.option("--metric", metavar="NAME", show_default="what fits the target", help="Of the test score.")
@click.option(
    "--margin", type=float, metavar="X", show_default="0.01 of a score",
    help="Differences of the metric within ±X count as practically the same.",
)  # fmt: skip
@click.option("--task", metavar="TASK", help="regression, binary or multiclass, if the target does not tell.")
@click.option("--drop", callback=_names, default="", metavar="COLUMN,…", help="Columns of the table to leave out.")
@click.option("--rows", type=_COUNT, metavar="N", help="Take a sample of N rows.")
@click.option("--time", metavar="COLUMN", help="Keep rows in this column's order: the test part is the latest.")
@click.option("--group", metavar="COLUMN", help="Keep rows with the same value here in one part.")
@click.option(
    "--conditions", callback=_names, metavar="A,B,…", show_default="full,small,noise",
    help="Also: linear, deep (the same on other models), looser (ceilings doubled).",
)  # fmt: skip
@click.option(
    "--claims", callback=_names, metavar="A,B,…", show_default="all, generalization first",
    help="What is judged; the first is the primary claim.",
)  # fmt: skip
@click.option("--level", type=float, default=0.05, show_default=True, help="Of all errors within a claim.")
@click.option("--budget", type=_COUNT, default=4, show_default=True, help="Settings tried an arm and seed.")
@click.option(
    "--tuner", type=click.Choice(["grid", "optuna"]), default="grid", show_default=True, help="How settings are chosen."
)
@click.option("--epochs", type=_COUNT, show_default="30", help="Of the built-in loop.")
@click.option("--batch", type=_COUNT, show_default="64", help="Of the built-in loop: examples a step.")
@click.option(
    "--engine", type=click.Choice(["joblib", "dask", "ray"]), default="joblib", show_default=True,
    help="Whose workers train; no number depends on it.",
)  # fmt: skip
@click.option("--jobs", type=_COUNT, show_default="all cores", help="Workers, of one thread each.")
@click.option(
    "--journal", metavar="FILE", show_default="opnorm-trial-….jsonl beside the outputs",
    help="Finished cells, by which a stopped trial goes on.",
)  # fmt: skip
@click.option("--restart", is_flag=True, help="Begin anew: throw away what the journal holds.")
@click.option("--html", metavar="FILE", help="Write the report as one page that needs nothing else.")
@click.option("--json", "document", metavar="FILE", help="Write the report as JSON; - for standard output.")
@click.option("--open/--no-open", "opened", default=False, show_default=True, help="Show the page in the browser.")
@click.option("--control/--no-control", default=True, show_default=True, help="Also compare the baseline with itself.")
@click.option("--cost/--no-cost", default=True, show_default=True, help="Also time each arm's steps.")
@click.option("--quiet", is_flag=True, help="No summary, no progress: exit code and files only.")
def trial(script: str | None, document: str | None, html: str | None, opened: bool, quiet: bool, **given: Any) -> int:
    """Can spectral norm improve my model? A fair experiment: helps, hurts, practically the same, or open.

    Give --data, or SCRIPT: a Python file of your own, which is run. It defines build_model(seed), load_data(seed) →
    (train, validation, test), each a pair (X, y), and, if the loop is its own, fit(model, train, validation, arm).

    A first try: opnorm trial --data credit.csv --target default --html trial.html. `opnorm explain trial` tells what
    the words mean.
    """
    from opnorm.experiment.run.declare import Wishes, declared
    from opnorm.experiment.run.given import subject_from, with_settings
    from opnorm.experiment.run.hold import Running

    outputs = Outputs(document, html, opened, quiet)
    sources = [name for name in (script, given["data"]) if name is not None]
    outputs.require_possible(sources)
    subject = subject_from(script, **_of(given, _SUBJECT))
    wishes = Wishes(**_of(given, _WISHES), timed=given["minutes"] is not None)
    asked = declared(subject, with_settings(wishes, subject))
    running = Running(**_of(given, _RUNNING), command=shlex.join(["opnorm", *sys.argv[1:]]))
    return _held(subject, asked, _kept(running, given["journal"], subject, asked, outputs, sources), outputs)


def _of(given: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: given[name] for name in names}


def _kept(
    running: Running, journal: str | None, subject: Subject, asked: Declared, outputs: Outputs, sources: list[str]
) -> Running:
    from opnorm.experiment.run.hold import header

    return replace(running, journal=journal_of(journal, outputs, header(subject, asked, running), sources))


def _held(subject: Subject, asked: Declared, running: Running, outputs: Outputs) -> int:
    from opnorm.cli.outputs import say
    from opnorm.experiment.run.hold import held
    from opnorm.experiment.run.progress import shown

    try:
        with shown(not outputs.quiet) as progress:
            told = (lambda _: None) if outputs.quiet else say
            report = held(subject, asked, replace(running, progress=progress, say=told))
    except KeyboardInterrupt:
        say(f"interrupted; what is finished is kept in {running.journal}, and the same command goes on from there")
        return INTERRUPTED
    return publish(report, outputs)
