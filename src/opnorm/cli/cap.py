"""`opnorm cap`: a copy of a checkpoint with every chosen weight under a ceiling, and the certificate of it."""

from __future__ import annotations

from pathlib import Path

import click

from opnorm.cli.codes import CONTRADICTION
from opnorm.cli.options import shape_option
from opnorm.errors import Contradiction, FileAccessError, UsageError


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--max", "ceiling", type=float, required=True, metavar="C", help="The largest singular value allowed.")
@click.option("-o", "--output", required=True, metavar="OUT", help="The file, or folder of safetensors, to write.")
@click.option("--only", multiple=True, metavar="GLOB", help="Cap only matching names; * crosses dots. Repeatable.")
@click.option("--skip", multiple=True, metavar="GLOB", help="Leave out matching names. Repeatable.")
@click.option(
    "--input-shape", callback=shape_option, metavar="C,H,W",
    help="Of the model's input, without batch: convolutions are then capped at their own sizes.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists, FILE itself included.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random start vectors.")
@click.option("--certificate", metavar="JSON", help="Write the certificate to this file.")
@click.option("--json", "document", metavar="JSON", help="Write the certificate as JSON; - for standard output.")
@click.option("--quiet", is_flag=True, help="No table, no progress.")
def cap(
    path: str,
    ceiling: float,
    output: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    input_shape: tuple[int, ...] | None,
    overwrite: bool,
    seed: int,
    certificate: str | None,
    document: str | None,
    quiet: bool,
) -> int:
    """Write a copy of FILE whose weights have no singular value above C, PROVED on what is written."""
    from opnorm.cli.inputs import shown_progress
    from opnorm.cli.outputs import say
    from opnorm.constraint.files.capping import cap_file

    for file in (certificate, document):
        _require_place(file, path, output)
    try:
        with shown_progress(quiet) as progress:
            found = cap_file(
                path, output, max=ceiling, only=only, skip=skip, input_shape=input_shape, seed=seed,
                overwrite=overwrite, progress=progress,
            )  # fmt: skip
    except Contradiction as error:
        say(str(error))
        return CONTRADICTION
    for file in (certificate, document):
        if file is not None and file != "-":
            found.save(file)
    if document == "-":
        click.echo(found.to_json(), nl=False)
    elif not quiet:
        _show(str(found), f"Written to {output}")
    return 0


def _require_place(file: str | None, source: str, output: str) -> None:
    """Refuse, before hours of work, what could not be written after them."""
    if file is None or file == "-":
        return
    if Path(file).is_dir() or not Path(file).parent.is_dir():
        raise FileAccessError(f"{file}: cannot be written; give a file in an existing, writable folder")
    if Path(file).resolve() == Path(output).resolve():
        raise UsageError(f"{file} is the output itself; give the certificate a name of its own")
    if Path(file).resolve() == Path(source).resolve():
        raise UsageError(f"{file} is the file to cap; give the certificate a name of its own")


def _show(*texts: str) -> None:
    from opnorm.report.display import display_name

    for text in texts:
        for line in text.splitlines():
            click.echo(display_name(line, 2000))
