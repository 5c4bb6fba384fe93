"""The section of a model card: norms and verdict between two markers, replaced in place, the rest byte for byte.

A model card is a README.md with a YAML head, as the Hugging Face Hub reads it (huggingface_hub, `ModelCard`). Only
the section is this project's: the head and everything else stay as they are. A marker counts only where it is a
whole line; names cannot make one, as they stand inside table cells.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePath

from opnorm.errors import FileAccessError, UsageError
from opnorm.report.budget.budget import is_weight
from opnorm.report.budget.markdown import code, files, prose, rules, settings, table
from opnorm.report.budget.verdict import Judgement
from opnorm.report.document import Report, Row
from opnorm.report.text import number

BEGIN, END = "<!-- opnorm: begin -->", "<!-- opnorm: end -->"
ROWS = 20
"""Rows in the table, the largest norms."""

MOST_BYTES = 1 << 24


def section(judgement: Judgement, report: Report) -> str:
    """What stands between the markers, both included."""
    weights = [row for row in report.rows if row.status == "measured" and is_weight(row)]
    largest = sorted(weights, key=lambda r: r.upper if r.upper is not None else -1.0, reverse=True)[:ROWS]
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(str(row.evidence) for row in weights).most_common())
    parts = [
        "## Spectral norms\n",
        f"The spectral norm σ₁, the largest singular value, of {len(weights)} weights ({kinds}), measured by "
        f"opnorm {report.version}. Each lies between the two numbers shown, with the evidence named.\n",
        *_verdict(judgement),
        table(("weight", "kind", "σ₁ ≥", "σ₁ ≤", "evidence"), map(_cells, largest)),
        *([f"The {ROWS} largest of {len(weights)}.\n"] if len(weights) > ROWS else []),
        files(report, lambda path: PurePath(path).name),
        settings(report.settings),
    ]
    return "\n".join((BEGIN, "", *parts, "", END))


def _verdict(judgement: Judgement) -> list[str]:
    if not judgement.verdicts:
        return []
    word = "passed" if judgement.passed else "FAILED"
    return [f"`opnorm check` {word}: {prose(judgement.sentence)}.\n", rules(judgement.verdicts)]


def _cells(row: Row) -> tuple[str, ...]:
    ends = number(row.lower, down=True), number(row.upper, down=False)
    return code(row.name), code(row.kind), *ends, row.evidence or ""


def read_card(path: str) -> str:
    """The card as it is, '' where there is none; `UsageError` where its markers leave the section's place open."""
    place = Path(path)
    try:
        raw = place.read_bytes() if place.exists() else b""
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MOST_BYTES:
        raise UsageError(f"{path}: has {len(raw)} bytes; a model card of at most {MOST_BYTES} is rewritten")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text, so it is no model card; nothing was written") from None
    _place(text, path)
    return text


def with_section(card: str, new: str, path: str = "the card") -> str:
    """The card with its section replaced, or added at the end; its own line ends are kept to."""
    end = "\r\n" if "\r\n" in card else "\n"
    new = new.replace("\n", end)
    found = _place(card, path)
    if found is not None:
        begin, after = found
        return card[:begin] + new + card[after:]
    gap = "" if not card else end if card.endswith(end) else end * 2
    return f"{card}{gap}{new}{end}"


def _place(card: str, path: str) -> tuple[int, int] | None:
    """Where the section begins and ends; None where there is none."""
    begins, ends = _lines_that_are(card, BEGIN), _lines_that_are(card, END)
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise UsageError(
            f"{path}: has {len(begins)} lines {BEGIN} and {len(ends)} lines {END}, where one of each, in this order, "
            "is needed; correct them, or delete all; nothing was written"
        )
    return begins[0], ends[0] + len(END)


def _lines_that_are(card: str, marker: str) -> list[int]:
    return [match.start() for match in re.finditer(rf"^{re.escape(marker)}(?=\r?$)", card, re.MULTILINE)]
