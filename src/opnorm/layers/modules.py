"""Live modules: which rule knows a class, by its qualified name; the framework is never imported to look.

A class is looked up along its MRO. A subclass is taken for what its base is only where it keeps every method that
decides what the base computes: one that overrides `forward`, or a method or property its base's `forward` uses, may
be any operator at all, and is refused with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from opnorm.layers.plan import Entry

MODULE = "torch.nn.modules.module.Module"
PARAMETRIZED = "torch.nn.utils.parametrize"
"""Where torch makes the classes of parametrized modules: the base class with properties in the place of weights."""

_CALLS = frozenset(("forward", "__call__", "_call_impl", "_wrapped_call_impl", "__getattr__", "__getattribute__"))
_HARMLESS = frozenset(
    (
        *("__module__", "__qualname__", "__doc__", "__init__", "__annotations__", "__constants__", "__repr__"),
        *("__firstlineno__", "__static_attributes__", "__setstate__", "__slots__", "__dict__", "__weakref__"),
        *("__parameters__", "__orig_bases__", "__abstractmethods__", "_abc_impl", "__annotate__", "__type_params__"),
        *("extra_repr", "reset_parameters", "_reset_parameters", "reset_running_stats", "from_pretrained"),
        *("_load_from_state_dict", "_save_to_state_dict", "_version", "convert_sync_batchnorm", "flatten_parameters"),
    )
)


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of a module: its full name, shape and dtype in words."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Site:
    """A module as it was met: where it is, what tensors it has by their own names, and what sizes it saw.

    input: shape, batch included, of what went in, where a trial run saw one size at every call; output: likewise;
    sizes: in words, why there is none. below: path relative to the module → site of a module inside it.
    """

    module: Any
    path: str
    held: Mapping[str, Held]
    input: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None
    sizes: str = ""
    below: Mapping[str, Site] = field(default_factory=dict)

    def names(self, *roles: str) -> dict[str, str]:
        """Those of `roles` that there are, each to its tensor's full name; all where none are given."""
        return {role: held.name for role, held in self.held.items() if not roles or role in roles}


Rule: TypeAlias = Callable[[Site], tuple[Entry, ...]]
"""From a module to the rows of its weights; what it leaves out (biases) gets rows from the walker."""


def qualified(kind: type) -> str:
    """`torch.nn.modules.conv.Conv2d`."""
    return f"{kind.__module__}.{kind.__qualname__}"


def find_rule(module: Any, rules: Mapping[str, Rule]) -> tuple[Rule | None, str]:
    """The rule for a module; or None with the reason why its class is refused, empty where it is just not known."""
    line = [kind for kind in type(module).__mro__ if kind.__module__ != PARAMETRIZED]
    position = next((i for i, kind in enumerate(line) if qualified(kind) in rules), None)
    if position is None:
        return None, ""
    known = line[position]
    changed = sorted({name for kind in line[:position] for name in _changes(kind, line[position:])})
    beside = [kind for kind in line[position:] if kind not in known.__mro__]  # mixins come before the root class
    changed += [name for kind in beside for name in vars(kind) if name in _CALLS - {"forward"}]
    changed += [name for name in vars(module) if name in _decisive(line[position:]) and callable(vars(module)[name])]
    changed += [name for name in vars(module) if name in module._parameters]  # an attribute hides the parameter
    if changed:
        return None, (
            f"{qualified(type(module))} overrides {', '.join(changed)} of {known.__qualname__}: what it computes is "
            "not known; measure the operator it really is as an opnorm.LinearOperator"
        )
    return rules[qualified(known)], ""


def _changes(kind: type, bases: list[type]) -> Iterator[str]:
    """Names by which a subclass may compute something else than its bases."""
    decisive = _decisive(bases) | {"weight"}
    return (name for name in vars(kind) if name in decisive)


def _decisive(bases: list[type]) -> frozenset[str]:
    """Names that decide what a class computes: all of its own and its bases' up to the framework's root class.

    The root's own methods (`train`, `to`) are bookkeeping.
    """
    own = bases[: next((i for i, kind in enumerate(bases) if qualified(kind) == MODULE), len(bases))]
    return frozenset(name for base in own for name in vars(base)) - _HARMLESS | _CALLS
