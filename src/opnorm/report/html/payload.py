"""What the page carries inside: the report's JSON in compressed blocks, small enough whatever the model.

Blocks: 'head' (everything that the first view needs), 'details-0', 'details-1', … (spectra and directions of 200 rows
each, unpacked when a panel is opened), 'interaction', 'comparison'. Each is columns → JSON → gzip → base64.

Guarantee: the numbers of a row (its bracket, ‖A‖_F, stable rank) are kept to the last bit. Where a page would grow
beyond `allowance`, spectra and directions are kept to fewer digits and points, step by step (`LEVELS`); ends of
brackets are then rounded outward, so that what is PROVED stays so. The page says which step was taken.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opnorm.errors import UsageError
from opnorm.report.document import SCHEMA, Report, Row
from opnorm.report.html.coarse import LEVELS, Coarse
from opnorm.report.html.columns import Json, Shortening, packed, unpacked

CHUNK = 200
_DETAILS = ("tensors", "spectrum", "directions", "bounds")
_BLOCK = re.compile(r'<script type="application/gzip" id="block-([a-z0-9-]+)">([A-Za-z0-9+/=]*)</script>')


@dataclass(frozen=True, slots=True)
class Payload:
    """Blocks by name, base64; `level` is the index in `LEVELS` of what was kept of spectra and directions."""

    blocks: dict[str, str]
    level: int

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return sum(map(len, self.blocks.values()))


def allowance(rows: int) -> int:
    """Bytes that all blocks of a page may take: 0.85 MB to 1,000 rows, 4.8 MB at 10,000, then in proportion."""
    if rows <= 10_000:
        return int(850_000 + max(0, rows - 1000) * 3_950_000 / 9000)
    return 480 * rows


def payload_of(report: Report, extra: Mapping[str, Json]) -> Payload:
    """The blocks of `report`; `extra` goes with the head, as 'page'."""
    first = {"head": _block(_head(report, extra), omit=_DETAILS)}
    for name in ("interaction", "comparison"):
        if (part := getattr(report, name)) is not None:
            first[name] = _block(part)
    room = allowance(len(report.rows)) - sum(map(len, first.values()))
    chunks, level = _fitting([_details(row) for row in report.rows], room)
    return Payload(first | chunks, level)


def _head(report: Report, extra: Mapping[str, Json]) -> dict[str, Any]:
    """What `Report.to_dict` gives, but for the other blocks; a row's `tensors` are null where they are its own name."""
    return {
        **{name: getattr(report, name) for name in ("complete", "inputs", "settings", "coverage", "findings", "rows")},
        "opnorm": report.version,
        "failure_probability": report.failure_probability,
        "tensors": [None if row.tensors == (row.name,) else row.tensors for row in report.rows],
        "page": extra,
    }


def _details(row: Row) -> dict[str, Any] | None:
    found = {"spectrum": row.spectrum, "directions": row.directions}
    return found if row.spectrum is not None or row.directions else None


def _fitting(found: list[dict[str, Any] | None], room: int) -> tuple[dict[str, str], int]:
    """The blocks of details at the first level that fits, tried on a sample first."""
    having = [d for d in found if d is not None]
    if not having:
        return {}, 0
    sample = having[:: -(-len(having) // CHUNK)]
    for number, level in enumerate(LEVELS[:-1]):
        guess = len(_block(sample, Coarse(level))) * len(having) / len(sample)
        if guess > 1.1 * room:
            continue
        chunks = _chunks(found, Coarse(level))
        if sum(map(len, chunks.values())) <= room:
            return chunks, number
    return {}, len(LEVELS) - 1


def _chunks(found: list[dict[str, Any] | None], shortening: Shortening) -> dict[str, str]:
    parts = [(start // CHUNK, found[start : start + CHUNK]) for start in range(0, len(found), CHUNK)]
    return {f"details-{n}": _block(part, shortening) for n, part in parts if any(d is not None for d in part)}


def _block(value: Any, shortening: Shortening | None = None, omit: Iterable[str] = ()) -> str:
    text = packed(value, shortening, omit)
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def _opened(block: str) -> Json:
    return unpacked(json.loads(gzip.decompress(base64.b64decode(block))))


def embedded(text: str) -> dict[str, Any]:
    """The report's JSON out of the text of a page, in the shape of `Report.to_dict`."""
    blocks = dict(_BLOCK.findall(text))
    if "head" not in blocks:
        raise UsageError("this is no page that opnorm wrote: it holds no report; give a file made by --html")
    found = _opened(blocks["head"])
    del found["page"]
    tensors = found.pop("tensors")
    for index, row in enumerate(found["rows"]):
        row |= {"tensors": tensors[index] or [row["name"]], "spectrum": None, "directions": []}
        if index % CHUNK == 0:
            chunk = blocks.get(f"details-{index // CHUNK}")
            part = _opened(chunk) if chunk else [None] * CHUNK
        row |= part[index % CHUNK] or {}
    others = {name: _opened(blocks[name]) if name in blocks else None for name in ("interaction", "comparison")}
    return {"schema": SCHEMA, **found, **others}
