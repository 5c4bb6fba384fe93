"""Low-rank adapters: what they add, s·B·A, and what results, W + s·B·A, neither formed.

LoRA scales by s = α/r (Hu et al., 2021), rank-stabilized LoRA by α/√r (Kalajdzievski, 2023). The norm of the sum is
not that of the parts: ‖W‖ − s‖BA‖ ≤ ‖W + sBA‖ ≤ ‖W‖ + s‖BA‖, and which it is, training decided. s is the float64
that stands in the row, rounded from α and r as every implementation rounds it.

Guarantee and cost: s·B·A from thin cores (`opnorm.linalg.thin`), PROVED; W + s·B·A by the general plan, whose
rounding laws cover sums and products.
"""

from __future__ import annotations

import math
from typing import Any

from opnorm.frameworks import aslinearoperator
from opnorm.layers.linear import linear
from opnorm.layers.plan import Arrays, Build, Entry
from opnorm.linalg.algebra import low_rank_update
from opnorm.linalg.thin import ThinProduct

NO_BASE = "the base weight is not in this checkpoint: W + s·B·A needs it; merge the adapter, or measure both together"
NO_SCALE = "the scale s is not known: adapter_config.json beside the weights gives lora_alpha"


def scale_of(alpha: float, rank: int, *, rank_stabilized: bool = False) -> float:
    """s = α/r, or α/√r where rank-stabilized."""
    return alpha / math.sqrt(rank) if rank_stabilized else alpha / rank


def adapter(
    path: str,
    a: str,
    b: str,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    dtype: str,
    *,
    scale: float | None,
    base: str = "",
    base_shape: tuple[int, ...] = (),
    transposed: bool = False,
    problem: str = "",
    suffix: str = "",
) -> tuple[Entry, ...]:
    """Rows of A (r×inputs) and B (outputs×r), `path[s·B·A]`, and `path[W + s·B·A]`, refused where it cannot be.

    `scale` None: not known, and the row is that of B·A. `base`: the name of W, '' where it is not in the checkpoint;
    `transposed`: stored as inputs by outputs. `problem`: why the adapted weight is not W + s·B·A. `suffix`:
    of the names of derived rows, where a module has several adapters.
    """
    plain = (linear(a, a_shape, dtype, kind="adapter"), linear(b, b_shape, dtype, kind="adapter"))
    rank, shape = a_shape[0], (b_shape[0], a_shape[1])
    label, factor = ("B·A", 1.0) if scale is None else ("s·B·A", scale)
    said = f"rank {rank}" if scale is None else f"rank {rank}, s = {scale:.6g}"
    update = Entry(
        f"{path}[{label}{suffix}]", (b, a), "adapter", f"dense {shape[0]}x{shape[1]}, {said}", shape, dtype,
        reason=NO_SCALE if scale is None else "", derived=True, build=_update(a, b, factor),
    )  # fmt: skip
    if base and (base_shape[::-1] if transposed else base_shape) != shape:
        problem = problem or f"the base weight has shape {base_shape}, which s·B·A of shape {shape} does not fit"
    problem = problem or ("" if base else NO_BASE) or (NO_SCALE if scale is None else "")
    whole = Entry(
        f"{path}[W + s·B·A{suffix}]", tuple(n for n in (base, b, a) if n), "adapted linear",
        f"dense {shape[0]}x{shape[1]} + {said}", shape, dtype, derived=True,
        status="refused" if problem else "weight", reason=problem,
        build=None if problem else _adapted(base, a, b, factor, transposed=transposed),
    )  # fmt: skip
    return (*plain, update, whole)


def _update(a: str, b: str, scale: float) -> Build:
    def build(arrays: Arrays) -> Any:
        return ThinProduct(aslinearoperator(arrays[b].T), aslinearoperator(arrays[a]), factor=scale)

    return build


def _adapted(base: str, a: str, b: str, scale: float, *, transposed: bool) -> Build:
    def build(arrays: Arrays) -> Any:
        weight = arrays[base].T if transposed else arrays[base]
        up, down = aslinearoperator(arrays[b]), aslinearoperator(arrays[a])
        return low_rank_update(aslinearoperator(weight), up, down, scale)

    return build
