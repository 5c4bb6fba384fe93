"""The options that every measuring verb takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
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
    click.option("--sort", default="file", show_default=True, metavar="COLUMN", help="Order of the table."),
    click.option("--top", type=_COUNT, metavar="N", help="Show at most N rows of the table."),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random start vectors."
    ),
    click.option("--jobs", type=_COUNT, default=1, show_default=True, help="Tensors measured at a time."),
    click.option("--json", metavar="FILE", help="Write the report as JSON; - for standard output."),
    click.option("--csv", metavar="FILE", help="Write the rows as CSV; - for standard output."),
    click.option("--quiet", is_flag=True, help="No table, no progress: exit code and files only."),
)
