"""The verdicts as GitHub-flavored Markdown: the outcome, the rules, what does not hold, and the files by their hashes.

Names are foreign text: they stand in code, where Markdown is literal; a name with a character that ends code or a
table's cell there is written with character references instead. Nothing in a name becomes markup, mention or link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from opnorm.report.budget.show import held
from opnorm.report.budget.verdict import Judgement, Verdict, by_rule
from opnorm.report.display import display_name
from opnorm.report.document import Report, Settings

ROWS = 2000
"""Of the table of what does not hold, at most; fewer where they do not fit."""

_MARK = {True: "✅", False: "❌", None: "❓"}


def to_markdown(judgement: Judgement, report: Report, most: int | None = None) -> str:
    """The text, in at most `most` bytes of UTF-8: rows that do not fit are counted instead."""
    shown = min(len(judgement.failed), ROWS)
    text = _document(judgement, report, shown)
    while most is not None and len(text.encode()) > most:
        if not shown:
            return _cut(text, most)
        shown //= 2
        text = _document(judgement, report, shown)
    return text


def _cut(text: str, most: int) -> str:
    """Whole lines that fit."""
    kept, size = [], 0
    for line in text.splitlines(keepends=True):
        size += len(line.encode())
        if size > most:
            break
        kept.append(line)
    return "".join(kept)


def _document(judgement: Judgement, report: Report, shown: int) -> str:
    parts = [f"## opnorm check: {'passed' if judgement.passed else 'FAILED'}\n\n{judgement.sentence}.\n"]
    parts += [f"Asked for: {', '.join(map(code, judgement.terms))}.\n"] if judgement.terms else []
    if judgement.verdicts:
        parts.append(rules(judgement.verdicts))
    if judgement.failed:
        parts.append(_failures(judgement.failed, shown))
    parts += ["".join(f"- {prose(note)}\n" for note in judgement.notes)] if judgement.notes else []
    parts += [files(report), f"{settings(report.settings)} opnorm {code(report.version)}.\n"]
    return "\n".join(parts)


def rules(verdicts: Iterable[Verdict]) -> str:
    """A table with a line for every rule."""
    groups = by_rule(verdicts)
    lines = [(_MARK[_all(group)], code(label), f"{held(group)} of {len(group)}") for label, group in groups.items()]
    return table(("", "rule", "limits that hold"), lines)


def _all(verdicts: list[Verdict]) -> bool | None:
    if any(v.holds is False for v in verdicts):
        return False
    return True if held(verdicts) == len(verdicts) else None


def _failures(failed: Sequence[Verdict], shown: int) -> str:
    lines = [(_MARK[v.holds], code(v.name), _reason(v), code(v.rule)) for v in failed[:shown]]
    more = f"\n{len(failed) - shown} more are not shown.\n" if shown < len(failed) else ""
    return table(("", "row", "why", "rule"), lines) + more


def _reason(verdict: Verdict) -> str:
    return prose(verdict.reason) + (f" {code(verdict.detail, 500)}" if verdict.detail else "")


def files(report: Report, shown: Callable[[str], str] = str) -> str:
    """A table of what was read; `shown`: of a path."""
    lines = [(code(shown(i.path), 500), f"{i.bytes:,}", code(i.sha256) if i.sha256 else "") for i in report.inputs]
    return table(("file", "bytes", "SHA-256"), lines)


def settings(asked: Settings) -> str:
    """What was asked of the measurement, in a sentence."""
    return f"Evidence: at least {asked.evidence}; relative width {asked.width:g}; seed {asked.seed}."


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def code(text: str, limit: int = 120) -> str:
    """Foreign text, literally."""
    shown = display_name(text, limit)
    if not shown.strip():
        return "(blank)" if shown else "(no name)"
    if re.search(r"[`|\\]", shown):
        return f"<code>{_referenced(shown)}</code>"
    return f"`{shown}`"


def _referenced(text: str) -> str:
    """Every ASCII character but letters and digits as a character reference."""
    return re.sub(r"[^0-9A-Za-z\u0080-\U0010ffff]", lambda c: f"&#{ord(c[0])};", text)


def prose(text: str) -> str:
    """This project's own words: numbers, signs and names of metrics, which Markdown could take for markup."""
    return re.sub(r"[\\`*_{}\[\]<>#|~&!@$]", lambda c: f"&#{ord(c[0])};", text)
