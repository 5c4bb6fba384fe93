"""What a worker does: one chain of cells, on one thread, whoever runs it; the last bits of a sum depend on threads.

The subject travels as bytes made once (cloudpickle, so that functions of a notebook travel too) and is unpacked once a
worker. What opnorm refuses comes back as a value: exceptions do not survive every engine.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from opnorm.errors import MissingExtra, OpnormError
from opnorm.experiment.document import Design, Record
from opnorm.experiment.run.cells import FULL, Chain
from opnorm.experiment.subject import Subject


@dataclass(frozen=True, slots=True)
class Done:
    """A finished cell, and the seconds it took with its tuning."""

    record: Record
    took: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What stopped a chain: a message for the user."""

    message: str


@dataclass(frozen=True, slots=True)
class Packed:
    """A subject on its way to a worker, known by its digest. places: where modules are imported from."""

    content: bytes = field(compare=False, repr=False)
    digest: str
    places: tuple[str, ...] = field(compare=False, repr=False)

    @classmethod
    def of(cls, subject: Subject) -> Packed:
        """Bytes from which any process of the same Python makes the subject again."""
        content: bytes = cloudpickle().dumps(subject)
        return cls(content, hashlib.sha256(content).hexdigest(), tuple(sys.path))


def cloudpickle() -> Any:
    """What joblib, Dask and Ray pickle with."""
    try:
        import cloudpickle as found
    except ImportError as error:
        raise MissingExtra("trial", "a trial") from error
    return found


@lru_cache(maxsize=1)
def _unpacked(packed: Packed) -> Subject:
    sys.path += [place for place in packed.places if place not in sys.path]  # Ray's workers have their own
    subject: Subject = cloudpickle().loads(packed.content)
    return subject


@lru_cache(maxsize=1)
def warm() -> None:
    """What a process does once, seconds of it, is done before the clock runs: imports, and torch's first optimizer."""
    import sklearn.metrics  # noqa: F401
    import torch

    import opnorm.experiment.training.cell  # noqa: F401

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])


def work(packed: Packed, design: Design, chain: Chain) -> list[Done | Refused]:
    """All cells of a chain, until one is refused."""
    found: list[Done | Refused] = []
    try:
        warm()
        found.extend(finished(_unpacked(packed), design, chain))
    except OpnormError as error:
        found.append(Refused(str(error)))
    return found


def finished(subject: Subject, design: Design, chain: Chain) -> Iterator[Done]:
    """Cell by cell, each on one thread."""
    from opnorm.experiment.training.cell import run_cell
    from opnorm.experiment.training.seeds import one_thread
    from opnorm.experiment.user import guarded

    chosen = chain.chosen
    for cell in chain.cells():
        with one_thread():
            start = time.perf_counter()
            what = f"arm {cell.arm}, seed {cell.seed}, condition {cell.condition}"
            record = guarded(subject, what, run_cell, subject, design, cell, None if cell.condition == FULL else chosen)
            took = time.perf_counter() - start
        chosen = record.setting if cell.condition == FULL else chosen
        yield Done(record, took)
