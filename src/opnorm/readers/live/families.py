"""What a known family's own code does beyond its modules: the same rows as from its checkpoint and `config.json`.

Circuits of attention heads, normalizations folded into the next layer, parts of fused matrices and stacks of experts
follow from how a family's code connects its layers, not from any module alone. That is taken for known only inside
models of the classes of `transformers` itself, only over tensors whose own module is not the user's, and spanning
rows only over weights that are measured as they are stored: not refused, not computed from something else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opnorm.layers.modules import qualified
from opnorm.layers.plan import Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.naming import plan

_OWN = "transformers.models."
_KNOWN = ("transformers.", "torch.nn.")


@dataclass(frozen=True, slots=True)
class Families:
    """The rows of the models of known families inside a model, as from checkpoints of them."""

    layers: list[Layer]
    ranks: Mapping[str, int]

    def parts(self) -> dict[str, list[Entry]]:
        """Tensor → its own rows."""
        found: dict[str, list[Entry]] = {}
        for layer in self.layers:
            for entry in layer.entries:
                if not entry.derived and len(entry.tensors) == 1:
                    found.setdefault(entry.tensors[0], []).append(entry)
        return found

    def spanning(self, measured: Collection[str]) -> Iterator[tuple[str, Entry]]:
        """Module path and entry of each derived row. measured: tensors whose own rows are measured as stored."""
        for layer in self.layers:
            for entry in layer.entries:
                sound = all(name in measured or self.ranks.get(name, 2) < 2 for name in entry.tensors)  # scales
                if entry.derived and sound:
                    yield layer.path, entry


def families(modules: Mapping[str, Any], tensors: list[Tensor]) -> Families:
    """Those of the outermost modules that are a `transformers` model's own class with a configuration."""
    layers: list[Layer] = []
    inside = "\0"
    for path, module in modules.items():
        if path.startswith(inside) or not qualified(type(module)).startswith(_OWN) or not hasattr(module, "config"):
            continue
        inside = f"{path}." if path else ""
        own = [t for t in tensors if t.name.startswith(inside) and _known(modules, t.name)]
        layers += plan(own, module.config.to_dict())
        if not path:
            break
    return Families(layers, {t.name: len(t.shape) for t in tensors})


def _known(modules: Mapping[str, Any], name: str) -> bool:
    """Whether the module that a tensor belongs to is of a class that is known, not the user's."""
    owner = modules.get(name.rpartition(".")[0])
    return owner is not None and qualified(type(owner)).startswith(_KNOWN)
