"""Which layers of a model the lines name: those that the trial's arms hold, as Python text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from opnorm.experiment.arms.weights import Weight


@dataclass(frozen=True, slots=True)
class Places:
    """matrices, kernels: what rules name. plain: all that is held are weights of linear and convolution layers, and all
    of those are held.
    """  # fmt: skip

    matrices: tuple[str, ...] = ('"*"',)
    kernels: tuple[str, ...] = ()
    plain: bool = True

    @property
    def all(self) -> str:
        """Matrices and kernels, as one argument."""
        return one(self.matrices + self.kernels)


def one(places: Sequence[str]) -> str:
    """Several places as one argument of a rule."""
    return places[0] if len(places) == 1 else f"[{', '.join(places)}]"


def places_in(model: torch.nn.Module) -> Places:
    """Types of torch's own layers where all of a type are held; else names of weights."""
    from opnorm.constraint.losses.penalties import KNOWN
    from opnorm.experiment.arms.weights import weights_of

    held = weights_of(model)
    tensors = {weight.tensor for weight in held}
    named = [name for name, p in model.named_parameters(remove_duplicate=False) if p.ndim > 1 and p.requires_grad]
    mixed = {_kind(model, name) for name in named if name not in tensors} | {""}
    owners = {name: isinstance(_owner(model, name), KNOWN) for name in (*named, *tensors)}
    plain = all(owners[name] for name in tensors) and not any(owners[name] for name in named if name not in tensors)

    def place(weight: Weight) -> str:
        kind = _kind(model, weight.tensor)
        return repr(weight.pattern) if kind in mixed else kind

    matrices = dict.fromkeys(place(w) for w in held if w.settings is None)
    kernels = dict.fromkeys(place(w) for w in held if w.settings is not None)
    return Places(tuple(matrices), tuple(kernels), plain)


def _owner(model: torch.nn.Module, tensor: str) -> torch.nn.Module:
    return model.get_submodule(tensor.rpartition(".")[0])


def _kind(model: torch.nn.Module, tensor: str) -> str:
    """The class of torch's own layers that a tensor belongs to; '' where it is of none."""
    import torch

    own = [c.__name__ for c in type(_owner(model, tensor)).__mro__ if getattr(torch.nn, c.__name__, None) is c]
    return f"torch.nn.{own[0]}" if own and own[0] != "Module" else ""
