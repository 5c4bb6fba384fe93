"""Annotations and the step summary of a GitHub workflow.

An annotation is a line `::error file=…,line=…,title=…::message`, in which %, line ends, and in properties colon and
comma are escaped; ten are shown per step, so the last one counts what is left. The summary is Markdown appended to the
file that GITHUB_STEP_SUMMARY names, at most 1 MiB with what is there. Source: GitHub's documentation of workflow
commands, and the runner's parser (actions/runner, ActionCommand.cs).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from opnorm.errors import FileAccessError
from opnorm.report.budget.markdown import to_markdown
from opnorm.report.budget.verdict import Judgement, Verdict
from opnorm.report.display import display_name
from opnorm.report.document import Report

SHOWN = 10
"""Annotations of a step that GitHub shows."""

SUMMARY_BYTES = 1 << 20
VARIABLE = "GITHUB_STEP_SUMMARY"


def commands(judgement: Judgement, file: str = "") -> Iterator[str]:
    """Lines for the runner: what does not hold, then how many more; a notice where all holds. file: it is shown at."""
    failed = judgement.failed
    most = len(failed) if len(failed) <= SHOWN else SHOWN - 1
    for verdict in failed[:most]:
        yield _command("error", _places(verdict, file), verdict.text)
    if len(failed) > most:
        yield _command("error", {"title": "opnorm check"}, f"{len(failed) - most} more: {judgement.sentence}")
    if not failed:
        level = "notice" if judgement.passed else "error"
        yield _command(level, {"title": "opnorm check"}, judgement.sentence)


def _places(verdict: Verdict, file: str) -> dict[str, str]:
    line = {"line": str(verdict.line)} if verdict.line and file else {}
    at = {"file": file} if file else {}
    return {**at, **line, "title": f"opnorm {verdict.word}: {display_name(verdict.rule)}"}


def _command(level: str, properties: Mapping[str, str], message: str) -> str:
    listed = ",".join(f"{key}={_property(display_name(value, 500))}" for key, value in properties.items())
    return f"::{level} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary_file() -> str:
    """The file that the runner named for the step's summary, '' where there is none."""
    return os.environ.get(VARIABLE, "")


def append_summary(judgement: Judgement, report: Report, path: str) -> None:
    """Append the Markdown to the step's summary, whole or not at all."""
    try:
        size = Path(path).stat().st_size if Path(path).exists() else 0
        text = to_markdown(judgement, report, most=SUMMARY_BYTES - size - 1)
        if text:
            _append(Path(path), (b"\n" if size else b"") + text.encode())
    except OSError as error:
        raise FileAccessError(f"{path}: the step summary cannot be written: {error.strerror or error}") from error


def _append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        before = file.tell()
        try:
            file.write(data)
            file.flush()
        except OSError:
            file.truncate(before)
            raise
