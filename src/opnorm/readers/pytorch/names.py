"""From the object a PyTorch file holds to names: every tensor at any depth of dictionaries, lists and tuples.

A name is the path of keys, joined by dots. The keys that wrap a whole state dict (`state_dict`, `model`, …) are left
out where exactly one of them is there and the names stay distinct. What lies in an optimizer's state (a dictionary
with `state` and `param_groups`, or a key such as `optimizer_states` at the top) begins with `optimizer.` or
`optimizer_state.`, by which it is known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opnorm.readers.checkpoint import MAX_NAME, name_problem
from opnorm.readers.pytorch.byte_stream import Refusal
from opnorm.readers.pytorch.dtypes import ITEM_BYTES
from opnorm.readers.pytorch.pickles import Key
from opnorm.readers.pytorch.values import Opaque, Storage, View

MAX_DEPTH = 64
VISITS_PER_OPCODE = 4
"""A value takes an opcode or more; a file whose parts are used many times over is a bomb."""

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "weights", "params")
OPTIMIZER = "optimizer_state"

_OPTIMIZER_KEY = re.compile(r"(^|_)optim(izer)?s?(_|$)")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor where it was found."""

    path: Path
    value: View | Opaque
    optimizer: bool


def named_tensors(root: Any, alone: str, opcodes: int) -> dict[str, View | Opaque]:
    """Every tensor in `root` by name; `alone`: the name of a tensor that is not in anything.

    `opcodes`: how many the pickle had, which bounds the work.
    """
    leaves = list(_leaves(root, VISITS_PER_OPCODE * opcodes + MAX_DEPTH))
    if len(leaves) == 1 and not leaves[0].path:
        return {alone: leaves[0].value}
    prefix = _wrappers(root, leaves)
    short = [_name(leaf, prefix) for leaf in leaves]
    names = short if len(set(short)) == len(short) else [_name(leaf, ()) for leaf in leaves]
    name, count = max(Counter(names).items(), key=lambda c: c[1], default=("", 0))
    if count > 1:
        raise Refusal(f"holds {count} tensors whose keys all spell {name[:80]!r}")
    return dict(zip(names, (leaf.value for leaf in leaves), strict=True))


def _leaves(root: Any, budget: int) -> Iterator[Leaf]:
    """The tensors in the order of the file; a cycle ends at `MAX_DEPTH`."""
    levels: list[tuple[Path, bool, Iterator[tuple[str, Any]]]] = [((), False, iter([("", root)]))]
    while levels:
        path, optimizer, items = levels[-1]
        for key, value in items:
            budget -= 1
            if budget < 0 or len(levels) > MAX_DEPTH:
                raise Refusal(f"holds values nested more than {MAX_DEPTH} deep, or many times over")
            below = (*path, key) if len(levels) > 1 else ()
            if isinstance(value, View | Opaque | Storage):
                _check_name(below)
                yield Leaf(below, _whole(value) if isinstance(value, Storage) else value, optimizer)
            elif isinstance(value, dict | list | tuple):
                levels.append((below, optimizer or _is_optimizer(below, value), iter(_items(value))))
                break
        else:
            levels.pop()


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        return ((str(n), item) for n, item in enumerate(value))
    return ((f"[{n}]" if isinstance(k, Key) else _shown(k), item) for n, (k, item) in enumerate(value.items()))


def _shown(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def _is_optimizer(path: Path, value: Any) -> bool:
    if isinstance(value, dict) and "state" in value and "param_groups" in value:
        return True
    return len(path) == 1 and _OPTIMIZER_KEY.search(path[0]) is not None


def _whole(storage: Storage) -> View:
    """A storage that is in the file for itself: a vector."""
    item = ITEM_BYTES[storage.dtype]
    return View(storage, storage.dtype, (storage.size // item,), (item,), 0)


def _wrappers(root: Any, leaves: list[Leaf]) -> Path:
    """The keys that wrap the one state dict, outermost first."""
    prefix: Path = ()
    while isinstance(root, dict):
        depth = len(prefix)
        used = {leaf.path[depth] for leaf in leaves if leaf.path[:depth] == prefix and not leaf.optimizer}
        found = [key for key in WRAPPERS if key in used and isinstance(root.get(key), dict)]
        if len(found) != 1:
            break
        prefix, root = (*prefix, found[0]), root[found[0]]
    return prefix


def _name(leaf: Leaf, prefix: Path) -> str:
    if leaf.optimizer:
        return ".".join(leaf.path if leaf.path[0] in ("optimizer", OPTIMIZER) else (OPTIMIZER, *leaf.path))
    path = leaf.path[len(prefix) :] if leaf.path[: len(prefix)] == prefix else leaf.path
    return ".".join(path)


def _check_name(path: Path) -> None:
    """Before the parts are joined, as long ones may be shared by many tensors."""
    length = sum(len(part) + 1 for part in path) + len(OPTIMIZER)
    problem = f"has a name of {length} characters" if length > MAX_NAME else name_problem(".".join(path))
    if problem:
        raise Refusal(f"holds a tensor that {problem}")
