"""The page: a template, one style sheet and one script from `assets/`, and the payload, as one text.

Cost: ten thousand rows with spectra and directions take a few seconds, nearly all of it compression.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from opnorm.report.display import display_name
from opnorm.report.document import Report, Row
from opnorm.report.html import figures, summary
from opnorm.report.html.coarse import LEVELS
from opnorm.report.html.columns import Json
from opnorm.report.html.explained import explained
from opnorm.report.html.payload import CHUNK, payload_of
from opnorm.report.html.sparks import sparks
from opnorm.report.html.terms import TERMS

if TYPE_CHECKING:
    from jinja2 import Environment, Template

PACKAGE = "opnorm.report.html"
STYLES = ("base.css", "parts.css", "charts.css", "panel.css", "print.css")
SCRIPTS = (
    *("base.js", "figures.js", "store.js", "tips.js", "charts.js", "skyline.js", "grid.js", "table.js"),
    *("spectrum.js", "directions.js", "panel.js", "interaction.js", "heads.js", "compare.js", "start.js"),
)
_FALLBACK = 50
_NAMES = 40


def page(report: Report, ceiling: float | None = None, command: str = "") -> str:
    """`report` as one self-contained HTML file.

    ceiling: a norm to draw and to judge by. command: what made the report, shown among its provenance.
    The same report gives the same text.
    """
    payload = payload_of(report, _extra(report, ceiling))
    style, script = joined_assets(STYLES), f'"use strict";(() => {{\n{joined_assets(SCRIPTS)}}})();\n'
    norms, concerns = summary.verdict(report, ceiling)
    left_out = summary.left_out(report)
    return template("page.html").render(
        report=report,
        title=title_of(report),
        policy=policy_of(style, script),
        style=style,
        script=script,
        blocks=payload.blocks,
        kept=LEVELS[payload.level].saying,
        norms=norms,
        concerns=concerns,
        gravity=summary.gravity(report),
        numbers=summary.numbers(report, ceiling),
        command=display_name(command, 400),
        ceiling=ceiling,
        findings=summary.shown_findings(report),
        left_out=left_out,
        coverage=_coverage(report),
        largest=largest_rows(report),
        topics=explained(report),
        names_shown=_NAMES,
        spectra=any(row.spectrum is not None for row in report.rows),
    )


def _extra(report: Report, ceiling: float | None) -> dict[str, Json]:
    """What the script needs beside the report."""
    return {
        "chunk": CHUNK,
        "ceiling": ceiling,
        "kinds": _kinds(report),
        "terms": TERMS,
        "metrics": {name: asdict(metric) for name, metric in _metrics(report).items()},
        "sparks": sparks(report.rows),
    }


def _kinds(report: Report) -> list[str]:
    """Kinds that were measured; those of weights first, then by number: the first eight have a color of their own."""
    counts = Counter(row.kind for row in report.rows if row.status == "measured")
    weights = {row.kind for row in report.rows if row.status == "measured" and not row.derived}
    return sorted(counts, key=lambda kind: (kind not in weights, -counts[kind], kind))


def _metrics(report: Report) -> dict[str, Any]:
    """Titles and definitions of the quantities, where the report has any."""
    if all(row.spectrum is None for row in report.rows):
        return {}
    from opnorm.spectrum.metrics import METRICS

    return dict(METRICS)


def largest_rows(report: Report) -> list[tuple[int, Row]]:
    """The fifty largest measured rows with their places."""
    rows = [(i, r) for i, r in enumerate(report.rows) if r.status == "measured"]
    return sorted(rows, key=lambda p: -summary.height(p[1]))[:_FALLBACK]


def _coverage(report: Report) -> list[tuple[str, int, float]]:
    total = report.coverage.get("bytes", 0)
    kinds = [(k, n) for k, n in report.coverage.items() if k != "bytes" and n]
    return [(k.replace("_", " "), n, 100 * n / total) for k, n in kinds] if total else []


def title_of(report: Report) -> str:
    """What the report is about, in a few words."""
    if report.comparison is not None:
        return f"{_short(report.comparison.base)} → {_short(report.comparison.tuned)}"
    paths = [_short(i.path) for i in report.inputs]
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else (paths or ["a model"])[0]


def _short(path: str) -> str:
    return display_name("/".join(path.rstrip("/").split("/")[-2:]), 60)


def policy_of(style: str, script: str) -> str:
    """The content security policy that allows this style and this script, and nothing else."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def joined_assets(names: tuple[str, ...]) -> str:
    """Files of `assets/`, one after the other."""
    folder = files(PACKAGE) / "assets"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def environment_of(packages: tuple[str, ...], filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """Templates of the packages' `assets/`, the first's before the others'; everything in them escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=ChoiceLoader([PackageLoader(package, "assets") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= filters
    return found


@cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., Any]] = {
        "name": display_name,
        "size": figures.size,
        "figure": figures.figure,
        "bracket": figures.row_bracket,
    }
    return environment_of((PACKAGE,), filters)


def template(name: str) -> Template:
    """A template of `assets/`, everything in it escaped."""
    return _environment().get_template(name)
