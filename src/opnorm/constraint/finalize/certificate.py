"""What was proved of finished weights, tied to their bytes: frozen data, JSON on disk, checked again by hashes.

A certificate says: the matrices and operators that stood in these bytes when it was made have singular values within
these bounds, PROVED. `verify` asks whether the bytes are still those; the bounds themselves are found again from the
weights by anyone, with opnorm or without. It is not signed: who may change the weights may change it too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path
from typing import Any

import numpy as np

from opnorm.constraint.files.writers.atomic import access, appearing
from opnorm.constraint.finalize.stored import on_host
from opnorm.errors import CheckpointError, UsageError
from opnorm.readers import open_checkpoint, strict_json
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.memory import MemoryCheckpoint

SCHEMA = "opnorm.certificate/1"
MOST_BYTES = 64 << 20
_REMEDY = "Make the certificate again from the weights."


@dataclass(frozen=True, slots=True)
class CertifiedRow:
    """One operator. lo, hi: asked of its singular values (hi infinite: no ceiling). lower, upper: PROVED of σ₁;
    smallest: PROVED of σ_min from below, where there is a floor. tolerance: t with which a band is held,
    [lo(1 − t), hi(1 + t)]; 0 for a cap. before: σ₁ before it was moved, at most; None where nobody looked.
    sha256: of each of `tensors`, its bytes in row-major order. changed: whether the weight was moved.
    """

    name: str
    tensors: tuple[str, ...]
    kind: str
    operator: str
    shape: tuple[int, ...]
    dtype: str
    lo: float
    hi: float
    lower: float | None
    upper: float
    smallest: float | None
    tolerance: float
    method: str
    sha256: tuple[str, ...]
    seconds: float = 0.0
    before: float | None = None
    changed: bool = False

    @property
    def holds(self) -> bool:
        """Whether what is proved is what was asked for."""
        floor = self.lo == 0 or (self.smallest is not None and self.smallest >= self.lo * (1 - self.tolerance))
        return floor and self.upper <= self.hi * (1 + self.tolerance)


@dataclass(frozen=True)
class Certificate:
    """Rows, and what they are of. notes: what a reader should know besides."""

    rows: tuple[CertifiedRow, ...]
    opnorm: str
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(row.holds for row in self.rows)

    def __getitem__(self, name: str) -> CertifiedRow:
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            raise KeyError(f"{name!r} has no row; there are: {', '.join(row.name for row in self.rows[:12])}")
        return found

    def differing(self, target: Any) -> tuple[str, ...]:
        """The tensors of `target` whose bytes are not those certified, or that it lacks.

        target: a path, a torch module, or a dictionary of arrays.
        """
        wanted = {name: digest for row in self.rows for name, digest in zip(row.tensors, row.sha256, strict=True)}
        with _opened(target) as checkpoint:
            there = {tensor.name: tensor for tensor in checkpoint.tensors}
            found = {name: sha256(checkpoint.read(there[name])) for name in wanted if name in there}
        return tuple(name for name, digest in wanted.items() if found.get(name) != digest)

    def verify(self, target: Any) -> bool:
        """Whether `target` holds the very bytes that were certified."""
        return not self.differing(target)

    def to_json(self) -> str:
        """As JSON; an infinite ceiling is null."""
        rows = [{**asdict(row), "hi": row.hi if math.isfinite(row.hi) else None} for row in self.rows]
        document = {
            "schema": SCHEMA, "opnorm": self.opnorm, "source": self.source, "holds": self.holds, "rows": rows,
            "notes": self.notes,
        }  # fmt: skip
        return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all."""
        target = Path(path)
        with appearing(target) as temporary, access(target):
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """What `save` wrote. `CheckpointError` for anything else."""
        document = strict_json.read(Path(path), MOST_BYTES, "a certificate", _REMEDY)
        try:
            return _parsed(document)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"is no certificate of opnorm: {str(error)[:200] or type(error).__name__}"
            raise CheckpointError(path, problem, _REMEDY) from None

    def __str__(self) -> str:
        return "\n".join((*_table(self.rows), _verdict(self), *self.notes))


def sha256(array: Any) -> str:
    """Of an array's bytes in row-major order, wherever it lives."""
    flat = np.ascontiguousarray(on_host(array)).reshape(-1)
    return hashlib.sha256(flat.view(np.uint8).data if flat.size else b"").hexdigest()


def _opened(target: Any) -> Checkpoint:
    if isinstance(target, str | Path):
        return open_checkpoint(target)
    if isinstance(target, Mapping):
        return MemoryCheckpoint(target)
    if hasattr(target, "named_modules"):
        from opnorm.readers.live import open_model

        return open_model(target)
    raise UsageError(f"a {type(target).__name__} holds no weights: give a path, a module or a dictionary of arrays")


_TUPLES = ("tensors", "shape", "sha256")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "kind", "operator", "dtype", "method"), (str,)),
    **dict.fromkeys(("lo", "hi", "upper", "tolerance", "seconds"), (int, float)),
    **dict.fromkeys(("lower", "smallest", "before"), (int, float, type(None))),
    **dict.fromkeys(_TUPLES, (list,)),
    "changed": (bool,),
}


def _parsed(document: dict[str, Any]) -> Certificate:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {str(document['schema'])[:40]!r}, not {SCHEMA!r}")
    rows = tuple(_row(given) for given in document["rows"])
    certificate = Certificate(rows, str(document["opnorm"]), str(document["source"]), tuple(document["notes"]))
    if document["holds"] is not certificate.holds:
        raise ValueError("it says that it holds where its rows say otherwise, or the reverse")
    return certificate


def _row(given: dict[str, Any]) -> CertifiedRow:
    given = {**given, "hi": math.inf if given["hi"] is None else given["hi"]}
    names = {field.name for field in fields(CertifiedRow)}
    if set(given) != names:
        raise ValueError(f"a row has other fields: {', '.join(sorted(set(given) ^ names))[:80]}")
    for name, value in given.items():
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and name != "changed"):
            raise ValueError(f"a row's {name} is of a wrong kind")
    if len(given["tensors"]) != len(given["sha256"]):
        raise ValueError(f"the row {given['name'][:80]!r} has other numbers of tensors and of hashes")
    values: dict[str, Any] = {name: tuple(v) if name in _TUPLES else v for name, v in given.items()}
    return CertifiedRow(**values)


def _table(rows: Sequence[CertifiedRow]) -> list[str]:
    floor, seen = any(row.lo > 0 for row in rows), any(row.before is not None for row in rows)
    before = ("before ≤",) if seen else ()
    cells = [("weight", "shape", "dtype", *before, *(("σ_min ≥",) if floor else ()), "σ₁ ≤", "asked", "")]
    for row in rows:
        size = "×".join(map(str, row.shape))
        if seen:
            before = ("–" if row.before is None else outward(row.before, ROUND_CEILING),)
        smallest = ("–" if row.smallest is None else outward(row.smallest, ROUND_FLOOR),) if floor else ()
        said = ("moved" if row.changed else "as it was") if row.holds else "MISSED"
        asked = _asked(row)
        upper = outward(row.upper, ROUND_CEILING)
        cells.append((_printable(row.name), size, row.dtype, *before, *smallest, upper, asked, said))
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _asked(row: CertifiedRow) -> str:
    if row.lo == 0:
        return f"≤ {row.hi:.6g}" if math.isfinite(row.hi) else "–"
    return f"[{row.lo:.6g}, {row.hi:.6g}], t = {row.tolerance:.1g}"


def _printable(name: str) -> str:
    """A name that breaks no line and commands no terminal."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in name)


def outward(value: float, rounding: str) -> str:
    """Six significant digits, rounded so that what is printed is still a bound."""
    return f"{float(Context(prec=6, rounding=rounding).create_decimal_from_float(value)):.6g}"


def _verdict(certificate: Certificate) -> str:
    rows = certificate.rows
    asked = [row for row in rows if row.lo > 0 or math.isfinite(row.hi)]
    held, moved = sum(row.holds for row in asked), sum(row.changed for row in rows)
    only = f" {len(rows) - len(asked)} measured, with nothing asked." if len(asked) < len(rows) else ""
    said = f"{held} of {len(asked)} weights PROVED within what was asked; {moved} moved." if asked else "Nothing asked."
    return f"{said}{only} opnorm {certificate.opnorm}."
