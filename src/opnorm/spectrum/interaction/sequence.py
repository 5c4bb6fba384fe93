"""The edges of a live model that are no transformer's: modules that follow one another.

What is known: the order inside an `nn.Sequential` (its own class, no hooks, its `forward` not replaced), and what a
trial run saw, whose `feeds` name the module that alone feeds another (`opnorm.frameworks.calls`). Activations, dropout
and flattening may lie between: they act on each number alone. A LayerNorm's or RMSNorm's scale is folded into what
reads it, a BatchNorm into what feeds it where the rules have that row; anything else (pooling, addition) ends a chain.
A link through an activation says what its two linear maps do to one another where the activation lets all pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from opnorm.layers.folding import folded_name, folded_scale
from opnorm.layers.modules import qualified
from opnorm.layers.plan import Entry, Layer
from opnorm.spectrum.interaction.edges import Edge, Reader, Rows, acting, read_edge
from opnorm.spectrum.interaction.operators import Acting

SEQUENTIAL = "torch.nn.modules.container.Sequential"
_ACTIVATION = "torch.nn.modules.activation."
_SILENT = frozenset(
    (
        *("torch.nn.modules.linear.Identity", "torch.nn.modules.flatten.Flatten"),
        *(f"torch.nn.modules.dropout.{name}" for name in ("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout")),
    )
)
_NOT_ALONE = frozenset(("Softmax", "LogSoftmax", "Softmin", "Softmax2d", "GLU", "MultiheadAttention", "Threshold"))
_BATCH_NORM = "torch.nn.modules.batchnorm.BatchNorm"
_NORMS = {
    "torch.nn.modules.normalization.LayerNorm": True,
    "torch.nn.modules.normalization.RMSNorm": False,
}
LINKED = ("linear", "convolution")


def sequence_edges(rows: Rows, plan: list[Layer], modules: Mapping[str, Any], feeds: Mapping[str, str]) -> list[Edge]:
    """Between the plain rows of modules. modules: by path. feeds: of a trial run, empty where there was none."""
    walk = _Walk(rows, plan, modules, {**dict(_sequential(modules)), **feeds})
    return [e for path in walk.own for e in walk.into(path)]


class _Walk:
    """Backwards from each row to the one that feeds it."""

    def __init__(self, rows: Rows, plan: list[Layer], modules: Mapping[str, Any], before: Mapping[str, str]) -> None:
        self._rows, self._modules, self._before = rows, modules, before
        self.own: dict[str, Entry] = {}
        for layer in plan:
            entries = [e for e in layer.entries if e.status == "weight" and not e.derived]
            if len(entries) == 1 and entries[0].kind in LINKED:
                self.own[layer.path] = entries[0]

    def into(self, path: str) -> Iterator[Edge]:
        """The edge that ends in a module's row, if what feeds it is known."""
        entry, batch_norm, norm = self.own[path], "", ""
        words: list[str] = []
        place, met = self._before.get(path, ""), {path}
        while place and place not in met and place not in self.own:
            met.add(place)
            name = qualified(type(self._modules.get(place)))
            if name in _NORMS and not norm and not words and not batch_norm:
                norm = place
            elif name.startswith(_BATCH_NORM) and not batch_norm and not norm:
                batch_norm = place
            elif _is_activation(name) and not batch_norm:
                words.insert(0, name.rpartition(".")[2])
            elif name not in _SILENT:
                return
            place = self._before.get(place, "")
        if place and place in self.own:
            yield from self._edge(self.own[place], entry, words, batch_norm, norm)

    def _edge(self, first: Entry, second: Entry, words: list[str], batch_norm: str, norm: str) -> Iterator[Edge]:
        writer = acting(first)
        if batch_norm:
            folded = self._rows.by_name.get(folded_name(first.name, batch_norm.rpartition(".")[2]))
            if folded is None or folded.build is None:
                return
            writer, words = Acting(folded), ["BatchNorm", *words]
        through = ", ".join(words)
        if norm:
            yield from self._normalized(first, second, norm, through)
        else:
            yield Edge(writer, acting(second), first.name, second.name, through)

    def _normalized(self, first: Entry, second: Entry, norm: str, through: str) -> Iterator[Edge]:
        module = self._modules[norm]
        centered, scale = _NORMS[qualified(type(module))], f"{norm}.weight"
        if second.kind != "linear" or scale not in self._rows.by_name or len(module.normalized_shape) != 1:
            return
        folded = folded_scale(second, scale, centered=centered, label=norm.rpartition(".")[2])
        reader = Reader(second, folded, scale)
        yield read_edge(first, reader, ", ".join(p for p in (through, reader.words) if p))


def _is_activation(name: str) -> bool:
    return name.startswith(_ACTIVATION) and name.rpartition(".")[2] not in _NOT_ALONE


def _sequential(modules: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(path, the path before it) inside the outermost sequential modules."""
    for path, module in modules.items():
        above = modules.get(path.rpartition(".")[0]) if path else None
        if _is_plain(module) and not (path and _is_plain(above)):
            leaves = list(_leaves(path, module))
            yield from ((later, earlier) for earlier, later in pairwise(leaves))


def _is_plain(module: Any) -> bool:
    hooked = getattr(module, "_forward_hooks", None) or getattr(module, "_forward_pre_hooks", None)
    return qualified(type(module)) == SEQUENTIAL and not hooked and "forward" not in vars(module)


def _leaves(path: str, module: Any) -> Iterator[str]:
    for name, child in module._modules.items():
        inner = f"{path}.{name}" if path else name
        if _is_plain(child):
            yield from _leaves(inner, child)
        else:
            yield inner
