"""Where results go: standard output, files written whole, and messages on standard error."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opnorm.cli.codes import ACCESS
from opnorm.cli.options import Options
from opnorm.errors import FileAccessError, UsageError
from opnorm.report.display import display_name

if TYPE_CHECKING:
    from rich.console import Console

    from opnorm.report.document import Report


def check_outputs(options: Options, sources: Iterable[str] = ()) -> None:
    """Refuse, before hours of measuring, an output that cannot be written, or would overwrite what is read.

    sources: files and folders that are read.
    """
    files = [f for f in (options.json, options.csv, options.html) if f is not None]
    if options.html == "-":
        raise UsageError("--html - is not possible: a page is a file; give its name, such as report.html")
    if files.count("-") > 1:
        raise UsageError("--json - and --csv - both ask for standard output; give one of them a file")
    for file in files:
        parent = Path(file).parent
        if file != "-" and (not parent.is_dir() or Path(file).is_dir() or not os.access(parent, os.W_OK)):
            raise FileAccessError(f"{file}: cannot be written; give a file in an existing, writable folder")
    _require_apart([file for file in files if file != "-"], [*sources, *_labels(options)])


def _labels(options: Options) -> list[str]:
    return [file for file in (options.tokenizer, options.features, options.findings) if file is not None]


def _require_apart(files: list[str], sources: Iterable[str]) -> None:
    real = [os.path.realpath(file) for file in files]
    read = {os.path.realpath(name) for source in sources for name in _read_from(source)}
    for file, place in zip(files, real, strict=True):
        if place in read:
            raise UsageError(f"{file}: is read by this command, and would be overwritten; give the output another name")
        if real.count(place) > 1:
            raise UsageError(f"{file}: is the name of two outputs; give each its own")


def _read_from(source: str) -> Iterator[str]:
    """A file; of a folder, the files that a checkpoint or a tokenizer may be read from."""
    from opnorm.readers import READERS
    from opnorm.readers.config import ADAPTER, CONFIG

    if not os.path.isdir(source):
        yield source
        return
    for name in os.listdir(source):
        if name.endswith(tuple(READERS)) or name in (CONFIG, ADAPTER, "tokenizer.json"):
            yield os.path.join(source, name)


def publish(
    report: Report, options: Options, show: Callable[[Report, Console], None], ceiling: float | None = None
) -> int:
    """Write the files asked for, and show the rest unless standard output is taken; returns a code.

    ceiling: of the weights, to be drawn.
    """
    from opnorm.report.machine import to_csv, write_whole

    code, taken = 0, options.quiet or not report.inputs
    for file, text in (
        (options.json, report.to_json),
        (options.csv, lambda: to_csv(report)),
        (options.html, lambda: _page(report, ceiling)),
    ):
        if file == "-":
            taken = True
            with pipe_may_close():
                click.echo(text(), nl=False)
        elif file is not None:
            try:
                write_whole(file, text())
            except FileAccessError as error:
                say(str(error))
                code = ACCESS
    if not taken:
        with pipe_may_close():
            show(report, console_on(sys.stdout))
    return code


def _page(report: Report, ceiling: float | None) -> str:
    from opnorm.report.html import page  # jinja2 is loaded only for a page

    return page(report, ceiling, shlex.join(["opnorm", *sys.argv[1:]]))


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """A reader that has seen enough (`| head`) is no error, and must not change the exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console_on(stream: Any) -> Console:
    """A console that never interprets what it is given; a pipe has no width, and lines are not cut to one."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    width = None if stream.isatty() else 200
    return PlainConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)


def say(message: str) -> None:
    """One line on standard error."""
    click.echo(f"opnorm: {display_name(message, 2000)}", err=True)
