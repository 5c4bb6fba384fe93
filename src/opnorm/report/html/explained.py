"""How each number was got: the explanations of the methods, the words and the findings that occur in a report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from opnorm.explain import explanation, topics
from opnorm.report.document import Report

_ALWAYS = ("evidence", "width", "status")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph: a lead such as "What it is." and the rest; `lines` where the layout matters."""

    lead: str
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topic:
    """A page of `opnorm explain`, taken apart. used: how many rows it is about, None where it is about all."""

    name: str
    title: str
    paragraphs: tuple[Paragraph, ...]
    used: int | None = None


def explained(report: Report) -> list[Topic]:
    """A topic for every method, and every finding's code, that occurs and has an explanation."""
    known = set(topics())
    methods = _counted(row.method for row in report.rows if row.status == "measured")
    codes = _counted(finding.code for finding in report.findings)
    used = {name: n for name, n in (methods | codes).items() if name in known}
    return [_topic(name, used[name]) for name in used] + [_topic(name, None) for name in _ALWAYS]


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _topic(name: str, used: int | None) -> Topic:
    first, *rest = re.split(r"\n\s*\n", explanation(name).strip())
    head, _, more = first.partition("\n")
    title = head.lstrip("# ").removeprefix(f"{name}: ")
    return Topic(name, title, tuple(_paragraph(p) for p in ([more] if more else []) + rest), used)


def _paragraph(text: str) -> Paragraph:
    if re.search(r"\S {2,}\S", text):
        return Paragraph("", "", tuple(text.splitlines()))
    flat = " ".join(text.split()).replace("`", "")
    lead = re.match(r"(How it works|What it [a-z]+|When it is chosen|[A-Z][^.:]{2,40})\. (?=[A-Z‖σW])", flat)
    return Paragraph(lead[0].strip(), flat[lead.end() :]) if lead else Paragraph("", flat)
