"""From which figure on something is a finding: a frozen set of numbers, from a TOML table `[findings]` where given.

Where each default comes from stands on its code's page (`opnorm explain ON102`). Unknown keys, numbers out of range and
unknown codes are refused, the nearest known one named.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from opnorm.errors import UsageError
from opnorm.readers.checkpoint import open_regular, read_exactly

MAX_BYTES = 1 << 20

FORMATS: Mapping[str, float] = MappingProxyType({
    "float8_e4m3fn": 2.0**-3, "float8_e4m3fnuz": 2.0**-3, "float8_e5m2": 2.0**-2, "float8_e5m2fnuz": 2.0**-2,
    "int8": 0.03, "int4": 0.25, "nf4": 0.25, "fp4": 0.3, "int3": 0.5, "int2": 1.0,
})  # fmt: skip
"""Format → the relative change ‖ΔW‖/‖W‖ that rounding to it explains: see `opnorm explain ON112`."""


def _ratio(default: float, says: str) -> Any:
    return field(default=default, metadata={"least": 1.0, "most": math.inf, "says": says})


def _share(default: float, says: str) -> Any:
    return field(default=default, metadata={"least": 0.0, "most": 1.0, "says": says})


def _count(default: int, says: str) -> Any:
    return field(default=default, metadata={"least": 1, "most": 1 << 31, "says": says})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Every threshold; `off`: codes that are not looked for. `Thresholds.from_table` checks what users wrote."""

    peer_ratio: float = _ratio(10.0, "σ₁ over, or under, the median of rows of the same role or shape")
    alike_ratio: float = _ratio(30.0, "the same among rows of one kind and other shapes, each by its own scale")
    alone_ratio: float = _ratio(100.0, "the same where there are no such rows: against He's initialization")
    spread: float = _ratio(4.0, "standard deviations of log σ₁ among peers that a ratio must exceed, too")
    fewest_peers: int = _count(3, "other rows without which nothing is called a peer")
    smallest_side: int = _count(8, "the shorter side, below which no spike and no collapse is looked for")
    collapse: float = _share(0.1, "effective rank as a share of what iid entries have")
    collapse_of_peers: float = _share(0.5, "effective rank as a share of its peers' median, where there are peers")
    spike_gap: float = _ratio(5.0, "σ₁/σ₂")
    head_ratio: float = _ratio(20.0, "the median head's norm over this head's")
    tied_within: float = _share(0.02, "relative difference of σ₁ and ‖W‖_F of two tables that were one")
    dead_share: float = _share(0.01, "of a layer's units whose weights are all 0")
    duplicate_share: float = _share(0.01, "of a layer's units that are parallel to another")
    drift: float = _share(0.5, "‖ΔW‖/‖W‖ between two models")
    intruders: int = _count(1, "new top directions of a tuned layer")
    looseness: float = _ratio(10.0, "‖W₂‖‖W₁‖/‖W₂W₁‖")
    refused_share: float = _share(0.01, "of all bytes that could not be measured")
    gate_acted: float = _share(0.8, "of a gate's visits that moved the weight")
    gate_push: float = _share(0.1, "cosine of −gradient with the outward normal at the ceiling")
    gate_rank: float = _share(0.5, "stable rank now over that at the start")
    gate_visits: int = _count(20, "visits below which nothing is concluded")
    most_rows: int = _count(10, "rows that are listed under one code; the rest is counted")
    quantization: Mapping[str, float] = field(default_factory=lambda: FORMATS)
    off: tuple[str, ...] = ()

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str = "[findings]") -> Thresholds:
        """Defaults with what a parsed TOML table gives. `UsageError` names what is unknown, and the nearest known."""
        known = {f.name: f for f in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in table.items():
            if key not in known:
                raise UsageError(f"{where}: the key {key!r} is not known; {_nearest(key, known)}")
            if key == "off":
                given[key] = _codes(value, where)
            elif key == "quantization":
                given[key] = _formats(value, where)
            else:
                given[key] = _number(value, known[key].metadata, known[key].default, f"{where}: {key}")
        return replace(cls(), **given)


def read_thresholds(path: str | Path) -> Thresholds:
    """The table `[findings]`, or `[tool.opnorm.findings]`, of a TOML file; defaults where it has none."""
    path = Path(path)
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise UsageError(f"{path}: has {size} bytes, where {MAX_BYTES} are allowed; give a file of thresholds")
        text = read_exactly(descriptor, str(path), 0, size).tobytes()
    finally:
        os.close(descriptor)
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: is not valid TOML: {error}; correct the file") from None
    return Thresholds.from_table(table_of(document, str(path)), f"{path}: [findings]")


def table_of(document: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The table of thresholds inside a parsed TOML document; empty where there is none."""
    section = document.get("tool", {})
    inner = section.get("opnorm", {}) if isinstance(section, Mapping) else {}
    table = document.get("findings", inner.get("findings", {}) if isinstance(inner, Mapping) else {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: 'findings' is {table!r:.60}, where a table is meant: write [findings]")
    return table


def _number(value: Any, limits: Mapping[str, Any], default: Any, where: str) -> float:
    kinds = (int,) if isinstance(default, int) else (int, float)
    least, most = limits["least"], limits["most"]
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        number = "a whole number" if isinstance(default, int) else "a number"
        above = f" to {most:g}" if most < 1 << 31 else " upwards"
        raise UsageError(
            f"{where} = {value!r:.40} is not possible: give {number} from {least:g}{above} ({limits['says']}; "
            f"default {default:g})"
        )
    return value


def _codes(value: Any, where: str) -> tuple[str, ...]:
    from opnorm.report.findings.table import CODES

    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise UsageError(f'{where}: off = {value!r:.60} is not possible: give a list of codes, such as ["ON105"]')
    for code in value:
        if code not in CODES:
            raise UsageError(f"{where}: the code {code!r:.40} in off is not known; {_nearest(code, CODES)}")
    return tuple(value)


def _formats(value: Any, where: str) -> Mapping[str, float]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: quantization = {value!r:.60} is not possible: give a table of formats and shares")
    limits = {"least": 0.0, "most": 2.0, "says": "‖ΔW‖/‖W‖ that rounding to the format explains"}
    for name, share in value.items():
        if name not in FORMATS:
            raise UsageError(
                f"{where}: the format {name!r:.40} in quantization is not known; {_nearest(name, FORMATS)}"
            )
        _number(share, limits, FORMATS[name], f"{where}: quantization.{name}")
    return MappingProxyType({**FORMATS, **value})


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.4)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"


DEFAULT = Thresholds()
"""What is used where nothing is given."""
