"""What a known family's own code does beyond its modules: the same rows as from its checkpoint and `config.json`.

Circuits of attention heads, normalizations folded into the next layer, parts of fused matrices and stacks of experts
follow from how a family's code connects its layers, not from any module alone. That is taken for known only inside
models of the classes of `transformers` itself, only over tensors whose module and all modules around it are of known
classes, without hooks or a replaced `forward`, and spanning rows only over weights that are measured as they are
stored: not refused, not computed from something else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
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
        """Module path and entry of each derived row. measured: tensors whose own rows are measured as stored.

        Adapters are left to their modules, which hold the scale that names alone do not give.
        """
        for layer in self.layers:
            for entry in layer.entries:
                sound = all(name in measured or self.ranks.get(name, 2) < 2 for name in entry.tensors)  # scales
                if entry.derived and sound and entry.kind not in ("adapter", "adapted linear"):
                    yield layer.path, entry


def families(modules: Mapping[str, Any], tensors: list[Tensor], changed: Callable[[Any], bool]) -> Families:
    """Those of the outermost modules that are a `transformers` model's own class with a configuration.

    changed: whether a module has hooks that may change what goes in or comes out.
    """
    layers: list[Layer] = []
    inside = "\0"
    for path, module in modules.items():
        if path.startswith(inside) or not qualified(type(module)).startswith(_OWN) or not hasattr(module, "config"):
            continue
        inside = f"{path}." if path else ""
        strange = {p for p, m in modules.items() if p != path and f"{p}.".startswith(inside) and _strange(m, changed)}
        own = [t for t in tensors if t.name.startswith(inside) and _known(modules, t.name, strange)]
        layers += plan(own, module.config.to_dict())
        if not path:
            break
    return Families(layers, {t.name: len(t.shape) for t in tensors})


def _strange(module: Any, changed: Callable[[Any], bool]) -> bool:
    """Whether a module of a model may do otherwise than its family's own code."""
    return not qualified(type(module)).startswith(_KNOWN) or "forward" in vars(module) or changed(module)


def _known(modules: Mapping[str, Any], name: str, strange: Collection[str]) -> bool:
    """Whether the module that a tensor belongs to, and all that are around it, do what their family does."""
    parts = name.split(".")[:-1]
    around = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return ".".join(parts) in modules and not any(path in strange for path in around)
