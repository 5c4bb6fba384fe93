"""Sizes inside a PyTorch model, from a run of its copy on the meta device: shapes without entries.

The copy shares nothing that can be written: every parameter, buffer and tensor attribute is replaced by a meta tensor
before `copy.deepcopy` would copy it; the user's hooks are dropped from the copy, not called; it runs in evaluation
mode without gradients, and the random states of Python, NumPy and PyTorch are put back. The model itself is only read.

What goes where is seen one level below modules, at the operations: an output that feeds one operation of one module,
is not returned, and whose module was called once, feeds that module alone. What passes a module whose hooks were
dropped may have been changed there: it feeds nothing. A parameter that other code than its own module's reads is named.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from opnorm.frameworks.calls import Call, Calls

Shape: TypeAlias = tuple[int, ...]
Inputs: TypeAlias = Shape | Sequence[Shape] | Mapping[str, Shape]

_COMPILED = "_orig_mod"
"""Where `torch.compile` keeps the model that it wraps."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def trace(model: torch.nn.Module, inputs: Inputs, changed: Callable[[torch.nn.Module], bool]) -> Calls:
    """The calls of every module for one example of the shapes `inputs`; `Calls.problem` where that failed.

    changed: whether a module has hooks that may change what goes in or comes out.
    """
    compiled = model._modules.get(_COMPILED)
    if compiled is not None and type(model).__name__ == "OptimizedModule":
        return trace(compiled, inputs, changed).below(_COMPILED)
    problem = _untraceable(model)
    if problem:
        return Calls(problem=problem)
    problems = []
    hooked = tuple(path for path, module in model.named_modules() if changed(module))
    with random_states_kept(), warnings.catch_warnings(), torch.no_grad(), torch.device("meta"):
        warnings.simplefilter("ignore")
        for dtype in _dtypes(model):
            watch = _Watch(hooked)
            try:
                return _traced(model, _examples(inputs, dtype), watch)
            except Exception as error:  # noqa: BLE001 (the user's own code, which may raise anything)
                where = f"in {watch.inside[-1]}, " if watch.inside and watch.inside[-1] else ""
                problems.append(f"{where}{type(error).__name__}: {' '.join(str(error).split())[:160]}")
    return Calls(problem=problems[0])


def _untraceable(model: torch.nn.Module) -> str:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            return "a scripted module cannot be copied without its weights"
        if "forward" in vars(module):
            return (
                f"the forward of {path or type(module).__name__} was replaced on the object, by code that is not known"
            )
        for tensor in _tensors(module):
            if torch.nn.parameter.is_lazy(tensor):
                return f"{path or type(module).__name__} has lazy parameters without a shape"
    return ""


def _dtypes(model: torch.nn.Module) -> list[torch.dtype]:
    """Of the inputs to try, the likelier first: token indices where the model has an embedding."""
    floating = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)
    tokens = any(isinstance(m, torch.nn.Embedding | torch.nn.EmbeddingBag) for m in model.modules())
    return [torch.int64, floating] if tokens else [floating, torch.int64]


def _examples(inputs: Inputs, dtype: torch.dtype) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """One example each, in a batch of one."""
    if isinstance(inputs, Mapping):
        whole = ("ids", "mask", "labels", "positions")
        return (), {
            name: torch.empty((1, *shape), dtype=torch.int64 if name.endswith(whole) else dtype)
            for name, shape in inputs.items()
        }
    shapes: Any = inputs if inputs and not isinstance(inputs[0], int) else (inputs,)
    return tuple(torch.empty((1, *shape), dtype=dtype) for shape in shapes), {}


def _traced(
    model: torch.nn.Module, examples: tuple[tuple[torch.Tensor, ...], Mapping[str, torch.Tensor]], watch: _Watch
) -> Calls:
    twin = hollow_copy(model)
    for path, module in twin.named_modules():
        module.register_forward_pre_hook(watch.entering(path), with_kwargs=True)
        module.register_forward_hook(watch.leaving(path), with_kwargs=True)
    arguments, named = examples
    with watch:
        result = twin(*arguments, **named)
    return watch.calls(result, twin)


def hollow_copy(model: torch.nn.Module) -> torch.nn.Module:
    """A copy in evaluation mode whose tensors are all on the meta device, without the user's hooks."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in _tensors(module):
            memo.setdefault(id(tensor), _hollow(tensor))
    twin = copy.deepcopy(model, memo)
    for module in twin.modules():
        for hooks in _HOOKS:
            getattr(module, hooks).clear()
    return twin.eval()


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Its parameters, buffers and tensor attributes, those in lists and dictionaries included."""
    return (value for value in tree_leaves(vars(module)) if isinstance(value, torch.Tensor))


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device="meta")
    is_parameter = isinstance(tensor, torch.nn.Parameter)
    return torch.nn.Parameter(empty, requires_grad=False) if is_parameter else empty


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Counts the operations that read each tensor, and remembers which module was running.

    Every tensor met is kept alive, so that no identity is given out twice; on the meta device that costs nothing.
    """

    def __init__(self, hooked: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.hooked = hooked
        self.inside: list[str] = []
        self.kept: list[Any] = []
        self.readers: dict[int, list[str]] = {}
        self.met: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self.called: dict[str, int] = {}

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.read((args, kwargs), self.inside[-1] if self.inside else "")
        return func(*args, **kwargs)

    def read(self, values: Any, reader: str) -> None:
        """Remember that code of the module `reader` reads these tensors."""
        for value in tree_leaves(values):
            if isinstance(value, torch.Tensor):
                self.kept.append(value)
                self.readers.setdefault(id(value), []).append(reader)

    def entering(self, path: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG001
            if path in self.hooked:
                self.read((args, kwargs), path)
            self.inside.append(path)
            self.called[path] = self.called.get(path, 0) + 1

        return hook

    def leaving(self, path: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any, result: Any) -> None:  # noqa: ARG001
            self.inside.pop()
            if path in self.hooked:
                self.read(result, path)
            ends = [[v for v in tree_leaves(x) if isinstance(v, torch.Tensor)] for x in ((args, kwargs), result)]
            if all(ends):
                self.met.setdefault(path, []).append((ends[0][0], ends[1][0]))

        return hook

    def calls(self, result: Any, twin: torch.nn.Module) -> Calls:
        """What was seen, once the model's copy `twin` has returned `result`."""
        returned = {id(value) for value in tree_leaves(result)}
        once = {path: met[0] for path, met in self.met.items() if len(met) == 1 == self.called[path]}
        producers: dict[int, list[str]] = {}
        for path, (_, output) in once.items():
            producers.setdefault(id(output), []).append(path)
        feeds = {
            path: producers[id(source)][0]  # the innermost module leaves first
            for path, (source, _) in once.items()
            if id(source) in producers and id(source) not in returned and self.readers.get(id(source)) == [path]
        }
        shapes = {p: tuple(Call(tuple(a.shape), tuple(b.shape)) for a, b in met) for p, met in self.met.items()}
        return Calls(shapes, feeds, self.outside(twin), self.hooked)

    def outside(self, twin: torch.nn.Module) -> dict[str, str]:
        """Parameters that code of other modules reads; what torch's own modules read of those inside is known."""
        modules = dict(twin.named_modules())
        own: dict[int, list[str]] = {}
        for path, module in modules.items():
            for tensor in module._parameters.values():
                own.setdefault(id(tensor), []).append(path)
        found = {}
        for path, module in modules.items():
            for role, tensor in module._parameters.items():
                known = tuple(f"{p}." if p else "" for p in own[id(tensor)])
                readers = [r for r in self.readers.get(id(tensor), ()) if not f"{r}.".startswith(known)]
                readers = [r for r in readers if not type(modules[r]).__module__.startswith("torch.nn.")]
                if tensor is not None and readers:
                    found[f"{path}.{role}" if path else role] = readers[0] or type(twin).__name__
        return found


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Put the random states of Python, NumPy and PyTorch on the host back as they were."""
    python, numpy, default = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(default)
