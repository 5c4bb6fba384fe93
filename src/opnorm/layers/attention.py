"""Attention's linear parts: per head, what is compared and what is moved.

Head h scores a pair of positions by xᵀ(W_QᵀW_K/√d)y and moves W_O W_V y. Both are products of thin factors,
rank at most the head size, and neither is one of the stored matrices: the product of their norms is only an upper
bound, often several times too large (Elhage et al., *A Mathematical Framework for Transformer Circuits*, 2021).
They are measured from thin cores and never formed (`opnorm.linalg.thin`); guarantee and cost are stated there.
Grouped queries share keys and values: query head h uses head h // (heads / kv_heads) of them.

Dot-product attention as a whole is not globally Lipschitz (Kim, Papamakarios and Mnih, *The Lipschitz Constant of
Self-Attention*, 2021), so no number is given for it. Biases add affine terms that no circuit holds. Rotary
embeddings turn keys against queries by their distance: the score circuit is that of two equal positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from opnorm.errors import UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import Arrays, Build, Entry
from opnorm.linalg.thin import ThinProduct

NOT_LIPSCHITZ = "dot-product attention as a whole is not globally Lipschitz: its circuits are measured, it is not"


@dataclass(frozen=True, slots=True)
class Projection:
    """Where the heads of one of the four projections lie in a tensor.

    Head h takes `head_size` rows (of W_Q, W_K, W_V; columns of W_O) from `start` + h·`step` on, on the axis of the
    heads; step 0: heads lie side by side. `transposed`: stored as inputs by outputs.
    """

    tensor: str
    start: int = 0
    step: int = 0
    transposed: bool = False

    def rows(self, arrays: Arrays, head: int, size: int) -> Any:
        """The rows of W that belong to a head, (size, inputs)."""
        return self._cut(arrays, head, size, columns=self.transposed)

    def columns(self, arrays: Arrays, head: int, size: int) -> Any:
        """The columns of W that belong to a head, transposed: (size, outputs)."""
        return self._cut(arrays, head, size, columns=not self.transposed)

    def _cut(self, arrays: Arrays, head: int, size: int, *, columns: bool) -> Any:
        first = self.start + head * (self.step or size)
        tensor = arrays[self.tensor]
        return tensor[:, first : first + size].T if columns else tensor[first : first + size]


def circuits(
    path: str,
    q: Projection | None,
    k: Projection | None,
    v: Projection | None,
    o: Projection | None,
    *,
    heads: int,
    kv_heads: int,
    head_size: int,
    rotary: bool = False,
    model_size: int = 0,
    dtype: str = "",
    root: int = 0,
    note: str = "",
) -> tuple[Entry, ...]:
    """Derived rows `path[qk head 0]`, `path[ov head 0]`, …, for the pairs of projections that are given.

    `root`: the score circuit is divided by √root, the head size unless given. `note`: a further sentence for
    the first row.
    """
    if min(heads, kv_heads, head_size) < 1 or heads % kv_heads:
        raise UsageError(
            f"{heads} heads of size {head_size} over {kv_heads} key-value heads at {path[:80]!r} cannot be: the "
            "number of key-value heads divides the number of heads"
        )
    group, shape = heads // kv_heads, (model_size, model_size) if model_size else ()
    entries = []
    for head in range(heads):
        if q is not None and k is not None:
            build = _scores(q, k, head, head // group, head_size, root or head_size)
            words = f"W_Qᵀ·W_K/√{root or head_size}, rank {head_size}" + ", at relative position 0" * rotary
            name = f"{path}[qk head {head}]"
            entries.append(Entry(name, _pair(q, k), "QK circuit", words, shape, dtype, derived=True, build=build))
        if v is not None and o is not None:
            build = _moves(o, v, head, head // group, head_size)
            words = f"W_O·W_V, rank {head_size}"
            name = f"{path}[ov head {head}]"
            entries.append(Entry(name, _pair(o, v), "OV circuit", words, shape, dtype, derived=True, build=build))
    return _with_reason(entries, "; ".join(p for p in (NOT_LIPSCHITZ, note) if p))


def _scores(q: Projection, k: Projection, head: int, shared: int, size: int, root: int) -> Build:
    def build(arrays: Arrays) -> ThinProduct:
        left, right = q.rows(arrays, head, size), k.rows(arrays, shared, size)
        return ThinProduct(aslinearoperator(left), aslinearoperator(right), root=root)

    return build


def _moves(o: Projection, v: Projection, head: int, shared: int, size: int) -> Build:
    def build(arrays: Arrays) -> ThinProduct:
        left, right = o.columns(arrays, head, size), v.rows(arrays, shared, size)
        return ThinProduct(aslinearoperator(left), aslinearoperator(right))

    return build


def _pair(left: Projection, right: Projection) -> tuple[str, ...]:
    return tuple(dict.fromkeys((left.tensor, right.tensor)))


def _with_reason(entries: list[Entry], reason: str) -> tuple[Entry, ...]:
    return tuple(replace(e, reason=reason) if i == 0 else e for i, e in enumerate(entries))
