"""The options that every measuring verb takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from opnorm.cli.threads import default_jobs


@dataclass(frozen=True, slots=True)
class Options:
    """What the common options say."""

    evidence: str
    width: float
    only: tuple[str, ...]
    skip: tuple[str, ...]
    input_shape: tuple[int, ...] | None
    sort: str
    top: int | None
    seed: int
    jobs: int
    json: str | None
    csv: str | None
    html: str | None
    insight: bool | None
    tokenizer: str | None
    features: str | None
    findings: str | None
    quiet: bool


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the common options, gathered into one argument `options`."""

    def gathered(**given: Any) -> Any:
        fields = {name: given.pop(name) for name in Options.__dataclass_fields__}
        return command(options=Options(**fields), **given)

    gathered.__name__, gathered.__doc__ = command.__name__, command.__doc__
    gathered.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(_COMMON):
        option(gathered)
    return gathered


_COUNT = click.IntRange(min=1)


def shape_option(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """(3, 224, 224) from '3,224,224'."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 1 << 24 for part in parts):
        raise click.BadParameter(
            f"{value!r} is not a shape: give whole numbers with commas between them, such as 3,224,224"
        )
    return tuple(int(part) for part in parts)


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
        "--only", multiple=True, metavar="GLOB", help="Measure only matching names; * crosses dots. Repeatable."
    ),
    click.option("--skip", multiple=True, metavar="GLOB", help="Leave out matching names. Repeatable."),
    click.option(
        "--input-shape",
        callback=shape_option,
        metavar="C,H,W",
        help="Of the model's input, without batch: convolutions are then measured at their own sizes.",
    ),
    click.option("--sort", default="file", show_default=True, metavar="COLUMN", help="Order of the table."),
    click.option("--top", type=_COUNT, metavar="N", help="Show at most N rows of the table."),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random start vectors."
    ),
    click.option(
        "--jobs",
        type=_COUNT,
        default=default_jobs,
        show_default="2, or 1 on one core",
        help="Layers measured at a time.",
    ),
    click.option("--json", metavar="FILE", help="Write the report as JSON; - for standard output."),
    click.option("--csv", metavar="FILE", help="Write the rows as CSV; - for standard output."),
    click.option("--html", metavar="FILE", help="Write the report as one page that needs nothing else."),
    click.option(
        "--insight/--no-insight",
        default=None,
        show_default="with --html only",
        help="Also spectra, directions and how layers feed one another.",
    ),
    click.option(
        "--tokenizer", metavar="FILE", help="A tokenizer.json, to name directions of embeddings and heads by tokens."
    ),
    click.option(
        "--features", metavar="FILE", help="Names of the inputs, one a line or a CSV header, for the first dense layer."
    ),
    click.option(
        "--findings", metavar="TOML", help="Thresholds of findings: a table [findings], see docs/findings.md."
    ),
    click.option("--quiet", is_flag=True, help="No table, no progress: exit code and files only."),
)
