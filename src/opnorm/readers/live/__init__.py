"""A live PyTorch model, read as a checkpoint: every parameter and persistent buffer, each layer by its rule.

The model is only looked at. No module of it is called, no hook is set, no buffer, gradient, flag or random state
changes; entries are read where they live and never copied as a whole. Names are those of `state_dict`. A module whose
class has no rule holds weights whose use is not known: a matrix is then measured as the plain matrix, and says so;
anything of more dimensions is refused. What is computed from other tensors (parametrizations, weight norm) is
measured as what is served. A tensor that several modules share is counted once.

The way: tensors (`tensors`) → modules and their rules (`walk`, `opnorm.layers.module_rules`) → entries;
sizes inside the model come from a run of a copy without weights (`trace`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from opnorm.errors import UnsupportedInput
from opnorm.layers.modules import MODULE, qualified
from opnorm.layers.plan import Layer
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor
from opnorm.readers.live.tensors import stored_tensors
from opnorm.readers.live.trace import InputShape, sizes_of
from opnorm.readers.live.walk import Walk
from opnorm.readers.memory import MemoryCheckpoint

SCRIPT = "torch.jit._script.ScriptModule"


def open_model(model: Any, input_shape: InputShape | None = None, *, sharded: bool = False) -> ModelCheckpoint:
    """The layers of a `torch.nn.Module`.

    input_shape: of one example, without the batch, such as (3, 224, 224); a tuple of shapes or a mapping from
    argument names for several inputs. With it, convolutions are measured at the size they see and BatchNorms are
    folded into what feeds them; without, for any size. sharded: plan tensors that are spread over processes (DTensor)
    as the whole they stand for; whoever reads them gathers them. `UnsupportedInput` for what is no module.
    """
    if not is_module(model):
        raise UnsupportedInput(
            f"a {type(model).__name__} is no torch.nn.Module: give a model, or a dictionary of arrays"
        )
    scripted = next((path for path, m in model.named_modules() if _is_a(m, SCRIPT)), None)
    if scripted is not None:
        raise UnsupportedInput(
            f"{scripted or 'the model'} is a TorchScript program, whose modules have no classes that say what they "
            "compute: measure the module that it was made from, or its state_dict()"
        )
    return ModelCheckpoint(model, input_shape, sharded=sharded)


def is_module(model: Any) -> bool:
    """Whether an object is a live PyTorch module."""
    return _is_a(model, MODULE) and not isinstance(model, type)


def _is_a(model: Any, name: str) -> bool:
    return any(qualified(kind) == name for kind in type(model).__mro__)


class ModelCheckpoint(MemoryCheckpoint):
    """A live model; see the head of this file. calls: what the trace saw, in order; model: the module itself."""

    def __init__(self, model: Any, input_shape: InputShape | None = None, *, sharded: bool = False) -> None:
        stored = stored_tensors(model, sharded=sharded)
        self._arrays = {s.name: s.tensor.detach() for s in stored if not s.problem}
        tensors = [Tensor(s.name, s.dtype, s.shape, 0 if s.first else s.nbytes) for s in stored]
        total = sum(t.nbytes for t in tensors)
        Checkpoint.__init__(self, [SourceFile(f"<{type(model).__name__}>", "memory", total)], tensors)
        sizes = sizes_of(model, input_shape)
        self.model, self.calls = model, sizes.calls
        self._layers = Walk(model, stored, tensors, sizes).layers()

    @cached_property
    def plan(self) -> list[Layer]:
        """See `Checkpoint.plan`."""
        return self._layers
