"""A budget from a TOML file, strictly: a key, a metric or an evidence that is not known is refused, the nearest named.

    version = 1

    [default]
    evidence = "proved"

    [[rule]]
    name = "attention"
    glob = "encoder.*.attention.*"
    kind = "linear"
    metric = "spectral_norm"
    max = 8.0

    [drift]
    relative = 0.05

In a `pyproject.toml` the same stands under `[tool.opnorm]`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from opnorm.errors import CheckpointError, FileAccessError, UsageError
from opnorm.readers.checkpoint import open_regular
from opnorm.report.budget.budget import Budget, Drift, Rule
from opnorm.report.budget.fields import Fields, told
from opnorm.report.budget.metrics import SIGNED, SPECTRAL_NORM, names

VERSION = 1
MOST_BYTES = 1 << 20
_WILD = re.compile(r"[*?]")
_HEADER = re.compile(r"^\s*\[\[\s*(?:tool\s*\.\s*opnorm\s*\.\s*)?rule\s*\]\]", re.MULTILINE)


def read_budget(path: str) -> Budget:
    """The budget in `path`; `UsageError` for what is no budget, `FileAccessError` where it cannot be read."""
    text = _text(path)
    document = _parsed(text, path)
    if Path(path).name == "pyproject.toml":
        found = budget_of(_section(document, path), path, "[tool.opnorm]")
    else:
        found = budget_of(document, path)
    return replace(found, rules=_with_lines(found.rules, text))


def budget_of(document: object, path: str = "budget", place: str = "the budget") -> Budget:
    """The budget that a parsed document describes."""
    fields = Fields(document, path, place)
    _require_version(fields)
    default = Fields(fields.get("default") or {}, path, "[default]")
    rules = tuple(_rule(rule, default, number) for number, rule in enumerate(fields.tables("rule"), 1))
    drift = None if (given := fields.get("drift")) is None else _drift(Fields(given, path, "[drift]"))
    fields.get("findings")  # thresholds of findings may stand beside; `report.findings` reads them
    default.require_all_read(("evidence", "metric"))
    fields.require_all_read()
    if not rules and drift is None:
        raise fields.error("limits nothing: add a [[rule]] with max, min or drift, or [drift] with relative")
    _require_labels(rules, fields)
    return Budget(path, rules, drift)


def _text(path: str) -> str:
    try:
        with open(open_regular(Path(path)), "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MOST_BYTES:
        raise UsageError(f"{path}: has more than {MOST_BYTES} bytes, the most that a budget may have")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text, so it is no TOML") from None


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # not TOML, or a number of more digits than Python reads
        raise UsageError(f"{path}: is not valid TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: is nested too deeply for a budget") from None


def _section(document: dict[str, Any], path: str) -> object:
    tools = document.get("tool")
    if not isinstance(tools, dict) or "opnorm" not in tools:
        raise UsageError(f"{path}: has no [tool.opnorm]; put the budget there, or in a file of its own")
    return tools["opnorm"]


def _require_version(fields: Fields) -> None:
    version = fields.get("version")
    if version is None:
        raise fields.error(f"has no version: add version = {VERSION}")
    if version != VERSION or isinstance(version, bool | float):
        newer = isinstance(version, int) and version > VERSION
        remedy = "a newer opnorm may read it" if newer else f"write version = {VERSION}"
        raise fields.error(f"has version = {told(version)}; this opnorm reads {VERSION}: {remedy}")


def _rule(fields: Fields, default: Fields, number: int) -> Rule:
    metric = _metric(fields if fields.get("metric") is not None else default)
    given = next((f for f in (fields, default) if f.get("evidence") is not None), None)
    found = Rule(
        label=fields.text("name", ""),
        metric=metric,
        globs=fields.texts("glob", ("*",)),
        skip=fields.texts("skip", ()),
        kinds=fields.texts("kind", ()),
        max=fields.optional_number("max"),
        min=fields.optional_number("min"),
        drift=fields.optional_number("drift"),
        evidence=None if given is None else given.evidence("evidence"),
        optional=fields.flag("optional", False),
        derived=fields.flag("derived", False),
    )
    fields.require_all_read()
    _require_sense(found, fields)
    return replace(found, label=found.label or f"rule {number}: {described(found)}")


def _metric(fields: Fields) -> str:
    return SPECTRAL_NORM if fields.get("metric") is None else fields.choice("metric", {name: name for name in names()})


def described(rule: Rule) -> str:
    """The rule's limits in a few words."""
    limits = [f"{rule.metric} ≥ {rule.min!r}"] if rule.min is not None else []
    limits += [f"{rule.metric} ≤ {rule.max!r}"] if rule.max is not None else []
    limits += [f"{rule.metric} within {rule.drift!r} of the baseline"] if rule.drift is not None else []
    where = "" if rule.globs == ("*",) else f" for {', '.join(rule.globs)}"
    return f"{' and '.join(limits)}{where}"


def _require_sense(rule: Rule, fields: Fields) -> None:
    limits = [x for x in (rule.max, rule.min, rule.drift) if x is not None]
    if not limits:
        raise fields.error("limits nothing: give max, min or drift")
    if _WILD.search(rule.label) and fields.get("glob") is None and not rule.kinds:
        raise fields.error(
            f"has name = {told(rule.label)}, which only names the rule in the outputs, and no glob, so that it would "
            f'cover every weight: write glob = {told(rule.label)} (glob = "*" if every weight is meant)'
        )
    if rule.metric not in SIGNED and min(limits) < 0:
        raise fields.error(f"has a limit below 0, which {rule.metric} never is")
    if rule.drift is not None and (rule.drift < 0 or rule.metric in SIGNED):
        raise fields.error(
            f"has drift = {rule.drift!r} of {rule.metric}: give a relative change of at least 0, such as 0.05, of a "
            f"metric that has a sign of its own ({', '.join(SIGNED)} has not)"
        )
    if rule.max is not None and rule.min is not None and rule.max < rule.min:
        raise fields.error(f"has max = {rule.max!r} below min = {rule.min!r}: no number keeps both")


def _drift(fields: Fields) -> Drift:
    relative = fields.optional_number("relative")
    if relative is None or relative < 0:
        raise fields.error("needs relative, a change of at least 0, such as relative = 0.05")
    unmatched = fields.choice("unmatched", {"fail": False, "allow": True}) if fields.get("unmatched") else False
    fields.require_all_read()
    return Drift(relative, unmatched)


def _require_labels(rules: tuple[Rule, ...], fields: Fields) -> None:
    labels = [rule.label for rule in rules]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise fields.error(f"has two rules with the name {twice[:80]!r}: give each its own")


def _with_lines(rules: tuple[Rule, ...], text: str) -> tuple[Rule, ...]:
    """The rules with the lines of their headers, where these can be found for certain."""
    lines = [text.count("\n", 0, match.end()) + 1 for match in _HEADER.finditer(text)]
    if len(lines) != len(rules):
        return rules
    return tuple(replace(rule, line=line) for rule, line in zip(rules, lines, strict=True))
