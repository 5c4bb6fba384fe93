"""An adapter beside the base it was trained on: ΔW = s·B·A, and W' = W + s·B·A, by the layer rules of either.

The update is measured from its thin cores (`opnorm.layers.adapters`), the adapted weight by the general plan. Where the
adapter's file holds a base of its own (`base_layer`), that is compared with the one given as a layer for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.layers.adapters import NO_BASE
from opnorm.layers.plan import Arrays, Entry
from opnorm.linalg.algebra import low_rank_update
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64
from opnorm.linalg.thin import ThinProduct
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.config import flag, section
from opnorm.spectrum.comparison.difference import dense
from opnorm.spectrum.comparison.matching import Matching, matched

UNSCALED = "the scale s is not known, so neither is s·B·A: adapter_config.json beside the adapter gives lora_alpha"


@dataclass(frozen=True, slots=True)
class Update:
    """What an adapter adds to a weight. weight: the base's tensor that its path names, were there no wrappers.

    entry: of s·B·A. problem: why W + s·B·A is not what acts, else ''. transposed: W is stored as inputs by outputs.
    """

    entry: Entry
    weight: str
    problem: str
    transposed: bool


def is_adapter(entry: Entry) -> bool:
    """Whether a row belongs to an adapter: its factors, its update, or the adapted weight."""
    return entry.kind in ("adapter", "adapted linear")


def updates_of(checkpoint: Checkpoint, entries: Sequence[Entry]) -> list[Update]:
    """The updates that the adapters of a checkpoint add."""
    config = checkpoint.config or {}
    turned = flag(section(config, "adapter_config") or config, "fan_in_fan_out")
    whole = {e.tensors[-2:]: e for e in entries if e.kind == "adapted linear"}
    found = []
    for entry in entries:
        if entry.kind != "adapter" or not entry.derived:
            continue
        b = entry.tensors[0]
        path, _, rest = b.rpartition(".lora_")
        found.append(Update(entry, f"{path}.weight", _problem(entry, whole), turned or rest.startswith("embedding_")))
    return found


def _problem(entry: Entry, whole: Mapping[tuple[str, ...], Entry]) -> str:
    if "[B·A" in entry.name:
        return UNSCALED
    adapted = whole.get(entry.tensors)
    return "" if adapted is None or adapted.status == "weight" or adapted.reason == NO_BASE else adapted.reason


def homes(base: Checkpoint, updates: Sequence[Update]) -> tuple[dict[str, str], Matching]:
    """Name of an update's weight → the base's tensor that it is, and how the names were matched."""
    shapes = {t.name: t.shape for t in base.tensors if len(t.shape) == 2}
    wanted = {u.weight: u.entry.shape[::-1] if u.transposed else u.entry.shape for u in updates}
    matching = matched(shapes, wanted)
    return {tuned: name for name, tuned in matching.pairs}, matching


def operators(
    update: Update, arrays: Arrays, weight: LinearOperator
) -> tuple[LinearOperator, LinearOperator, LinearOperator]:
    """W, W + s·B·A and s·B·A; `UnsupportedInput` where the update does not fit the weight."""
    delta = _delta(update, arrays)
    shape = delta.shape
    if weight.shape != shape and weight.shape[::-1] != shape:
        raise UnsupportedInput(f"the base weight has shape {weight.shape}, which s·B·A of shape {shape} does not fit")
    turn = weight.shape != shape or (update.transposed and shape[0] == shape[1])
    base = weight.T if turn else weight
    up, down = _factors(update, arrays)
    return base, low_rank_update(base, up, down, delta.factor), delta


def singular_values(update: Update, arrays: Arrays) -> Float64:
    """Of s·B·A, those that are not 0, descending: from the triangular factors of B and Aᵀ."""
    up, down = _factors(update, arrays)
    left, right = (np.asarray(np.linalg.qr(dense(o), mode="r")) for o in (up, down.T))
    values = np.linalg.svd(left @ right.T, compute_uv=False)
    return np.asarray(values * abs(_delta(update, arrays).factor), dtype=np.float64)


def _delta(update: Update, arrays: Arrays) -> ThinProduct:
    assert update.entry.build is not None
    delta = update.entry.build(arrays)
    assert isinstance(delta, ThinProduct)
    return delta


def _factors(update: Update, arrays: Arrays) -> tuple[LinearOperator, LinearOperator]:
    b, a = update.entry.tensors
    return aslinearoperator(arrays[b]), aslinearoperator(arrays[a])
