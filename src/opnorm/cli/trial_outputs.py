"""Where the results of a trial go: a page, JSON, the terminal; and its journal."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opnorm.cli.codes import ACCESS
from opnorm.errors import FileAccessError, UsageError

if TYPE_CHECKING:
    from opnorm.experiment.document import TrialReport


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go; `-` is standard output."""

    json: str | None
    html: str | None
    open: bool
    quiet: bool

    def require_possible(self, sources: Sequence[str]) -> None:
        """Before hours of training: refuse what could not be written, or would overwrite what is read."""
        if self.html == "-":
            raise UsageError("--html - is not possible: a page is a file; give its name, such as trial.html")
        if self.open and self.html is None:
            raise UsageError("--open shows the page; name it with --html, such as --html trial.html")
        for file in self.files():
            require_writable(file)
        require_apart(self.files(), sources)

    def files(self) -> list[str]:
        """Names of files to be written."""
        return [file for file in (self.json, self.html) if file not in (None, "-")]

    @property
    def folder(self) -> Path:
        """Beside the first of them, else here."""
        return next((Path(file).parent for file in self.files()), Path())


def require_writable(file: str) -> None:
    """Raise `FileAccessError` unless `file` can be written."""
    parent = Path(file).parent
    if not parent.is_dir() or Path(file).is_dir() or not os.access(parent, os.W_OK):
        raise FileAccessError(f"{file}: cannot be written; give a file in an existing, writable folder")


def require_apart(files: Sequence[str], sources: Sequence[str]) -> None:
    """Raise `UsageError` where a file is written twice, or read as well."""
    places = [os.path.realpath(file) for file in files]
    for file, place in zip(files, places, strict=True):
        if place in {os.path.realpath(source) for source in sources}:
            raise UsageError(f"{file}: is read by this command, and would be overwritten; give the output another name")
        if places.count(place) > 1:
            raise UsageError(f"{file}: is the name of two outputs; give each its own")


def journal_of(given: str | None, outputs: Outputs, header: Mapping[str, Any], sources: Sequence[str]) -> Path:
    """The file given, else one named by what is asked, beside the outputs: the same command finds it again."""
    if given is not None:
        require_apart([*outputs.files(), given], sources)
        require_writable(given)
        return Path(given)
    asked = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
    place = outputs.folder / f"opnorm-trial-{asked[:12]}.jsonl"
    require_writable(str(place))
    return place


def publish(report: TrialReport, outputs: Outputs) -> int:
    """Write the files asked for, and show the rest unless standard output is taken; returns a code."""
    from opnorm.cli.outputs import console_on, pipe_may_close, say
    from opnorm.report.machine import write_whole
    from opnorm.report.trial import page, show, to_json

    code = 0
    for file, text in ((outputs.json, to_json), (outputs.html, page)):
        if file is None:
            continue
        if file == "-":
            with pipe_may_close():
                click.echo(text(report), nl=False)
            continue
        try:
            write_whole(file, text(report))
        except FileAccessError as error:
            say(str(error))
            code = ACCESS
    if not outputs.quiet and outputs.json != "-":
        with pipe_may_close():
            show(report, console_on(sys.stdout))
    if outputs.open and outputs.html is not None and not code:
        click.launch(outputs.html)
    return code
