"""What the pickle of a PyTorch file may speak of: tensors, storages, and a few plain containers.

Each allowed global is a name; each allowed call has one function here that checks its arguments and gives a value
that cannot do anything. The allow-list is part of that of `torch.load(weights_only=True)`; work is linear in the
arguments of the calls, whatever they share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opnorm.readers.checkpoint import shape_problem
from opnorm.readers.pytorch.byte_stream import Refusal
from opnorm.readers.pytorch.dtypes import ITEM_BYTES, STORAGES
from opnorm.readers.pytorch.pickles import MAX_OPCODES, Set, fill
from opnorm.readers.pytorch.values import Opaque, Storage, View, view, whole_numbers


@dataclass(frozen=True, slots=True)
class Global:
    """A name, which stands for nothing but itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Inert:
    """A value of a class that weights do not depend on."""

    kind: str


class Ordered(dict[Any, Any]):
    """An OrderedDict, whose attributes (`_metadata`) a pickle may set."""


class TorchVocabulary:
    """The globals, calls and storages of one file. `storages`: those spoken of, by key, as the pickle claims them."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self._made: dict[int, View | Opaque] = {}
        self._work = 0

    def find(self, name: str) -> Global:
        """See `Vocabulary`."""
        name = name.replace("__builtin__.", "builtins.", 1) if name.startswith("__builtin__.") else name
        if name not in ALLOWED:
            raise Refusal(f"names the global {name[:120]!r}, which is none of those that weights need")
        return Global(name)

    def call(self, function: Any, args: tuple[Any, ...], /) -> Any:
        """See `Vocabulary`."""
        if not isinstance(function, Global) or function.name not in _CALLS:
            shown = repr(function.name[:120]) if isinstance(function, Global) else "a value"
            raise Refusal(f"calls {shown}, which weights do not need")
        least, most = _ARGUMENTS[function.name]
        if not least <= len(args) <= most:
            raise Refusal(f"calls {function.name!r} with {len(args)} arguments")
        self._work += sum(len(arg) for arg in args if type(arg) in (tuple, list))
        if self._work > MAX_OPCODES:
            raise Refusal(f"handles more than {MAX_OPCODES} arguments")
        return _CALLS[function.name](self, *args)

    def build(self, instance: Any, state: Any, /) -> None:
        """Attributes of an OrderedDict are let go; tensors among them will be missed by `require_named`."""
        if not isinstance(instance, Ordered) or not isinstance(state, dict):
            raise Refusal("sets attributes of something that is not an OrderedDict")

    def persistent(self, key: Any, /) -> Storage:
        """A storage: ("storage", class, key, device, entries), and in old files the part of it that is meant."""
        if type(key) is not tuple or len(key) not in (5, 6) or key[0] != "storage":
            raise Refusal("points to something outside of its pickle that is not a storage")
        _, kind, name, _, entries = key[:5]
        dtype = STORAGE_NAMES.get(kind.name) if isinstance(kind, Global) else None
        if dtype is None or type(name) is not str or not whole_numbers((entries,)):
            raise Refusal("describes a storage by something that is not a class, a key and a number of entries")
        storage = Storage(name, dtype, entries * ITEM_BYTES[dtype])
        if self.storages.setdefault(name, storage) != storage:
            raise Refusal(f"describes its storage {name[:40]!r} in two ways")
        return storage if key[5:] in ((), (None,)) else _part(storage, key[5])

    def require_named(self, named: list[View | Opaque]) -> None:
        """Refuse a file with tensors that no path of keys leads to."""
        hidden = self._made.keys() - {id(value) for value in named}
        if hidden:
            raise Refusal(f"holds {len(hidden)} tensors that no name leads to")

    def keep(self, value: View | Opaque, parts: tuple[Any, ...] = ()) -> View | Opaque:
        """Note a tensor that was made, in the place of the `parts` it was made of."""
        for part in parts:
            self._made.pop(id(part), None)
        self._made[id(value)] = value
        return value


def _part(storage: Storage, part: Any) -> Storage:
    """The part (name, offset, entries) of a storage."""
    if type(part) is not tuple or len(part) != 3 or not whole_numbers(part[1:]):
        raise Refusal("describes a part of a storage by something that is not an offset and a number of entries")
    start, size = (n * ITEM_BYTES[storage.dtype] for n in part[1:])
    if start + size > storage.size:
        raise Refusal(f"describes a part of its storage {storage.key[:40]!r} that reaches past it")
    return Storage(storage.key, storage.dtype, size, start)


# ---------------------------------------------------------------------- tensors


def _tensor(made: TorchVocabulary, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    """`_rebuild_tensor` and `_rebuild_tensor_v2`: (requires_grad, hooks, metadata) may follow."""
    if not isinstance(storage, Storage):
        raise Refusal("makes a tensor of something that is not a storage")
    _check_rest(*rest)
    return made.keep(view(storage, storage.dtype, offset, size, stride, bool(rest[2:] and rest[2])))


def _tensor_of_dtype(
    made: TorchVocabulary,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *rest: Any,
) -> Any:
    """`_rebuild_tensor_v3`: the dtype of untyped bytes is named."""
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else ""
    if not isinstance(storage, Storage) or storage.dtype != "uint8" or name not in ITEM_BYTES:
        raise Refusal("makes a tensor of something that is not a storage and a dtype")
    _check_rest(grad, hooks, *rest)
    return made.keep(view(storage, name, offset, size, stride, bool(rest and rest[0])))


def _check_rest(grad: Any = False, hooks: Any = None, metadata: Any = None) -> None:
    if type(grad) is not bool or (hooks is not None and not (isinstance(hooks, dict) and not hooks)):
        raise Refusal("makes a tensor with hooks")
    if metadata is not None and not isinstance(metadata, dict):
        raise Refusal("makes a tensor with metadata that are not a dictionary")


def _quantized(made: TorchVocabulary, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    plain = _tensor(made, storage, offset, size, stride)
    parts = rest[0] if rest and type(rest[0]) is tuple else ()
    return made.keep(Opaque(storage.dtype, size, plain.nbytes, "is quantized by torch"), (plain, *parts))


def _sparse(made: TorchVocabulary, _layout: Any, data: Any) -> Any:
    parts = data if type(data) is tuple else ()
    shapes = [part for part in parts if whole_numbers(part)]
    if len(shapes) != 1 or shape_problem(shapes[0]):
        raise Refusal("makes a sparse tensor without one shape")
    return made.keep(Opaque("sparse", shapes[0], _bytes(parts), "is sparse"), parts)


def _nested(made: TorchVocabulary, *parts: Any) -> Any:
    return made.keep(Opaque("nested", (), _bytes(parts), "is nested"), parts)


def _meta(made: TorchVocabulary, _dtype: Any, size: Any, _stride: Any, _grad: Any) -> Any:
    if not whole_numbers(size) or shape_problem(size):
        raise Refusal("makes a tensor whose shape is not whole numbers from 0 on")
    return made.keep(Opaque("meta", size, 0, "is on the meta device: its values were never stored"))


def _bytes(parts: tuple[Any, ...]) -> int:
    return sum(part.nbytes for part in parts if isinstance(part, View))


def _parameter(_made: TorchVocabulary, tensor: Any, _grad: Any, hooks: Any, state: Any = None) -> Any:
    if not isinstance(tensor, View | Opaque):
        raise Refusal("makes a parameter of something that is not a tensor")
    _check_rest(False, hooks)
    return _with_state(tensor, state)


def _from_type(made: TorchVocabulary, function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor with attributes; a class of its own might mean other values by the same entries."""
    plain = isinstance(function, Global) and function.name.startswith(_TENSORS)
    if kind not in (Global("torch.Tensor"), Global("torch.nn.parameter.Parameter")) or type(args) is not tuple:
        raise Refusal("makes a tensor of a class of its own")
    if not plain:
        raise Refusal("makes a tensor by something that makes none")
    return _with_state(made.call(function, args), state)


def _with_state(tensor: Any, state: Any) -> Any:
    parts = state if type(state) is tuple else (state,)
    if not isinstance(tensor, View | Opaque) or not all(part is None or isinstance(part, dict) for part in parts):
        raise Refusal("sets attributes of a tensor that are not a dictionary")
    return tensor


def _moved(_made: TorchVocabulary, tensor: Any, dtype: Any, _device: Any, _grad: Any) -> Any:
    if not isinstance(tensor, View) or dtype != Global(f"torch.{tensor.dtype}"):
        raise Refusal("makes a tensor of another one by converting it")
    return tensor


# ---------------------------------------------------------------------- plain values


def _ordered(_made: TorchVocabulary, pairs: Any = ()) -> Ordered:
    """An OrderedDict, empty or (as Python 2 wrote it) of a list of pairs."""
    if type(pairs) not in (list, tuple) or not all(type(p) in (list, tuple) and len(p) == 2 for p in pairs):
        raise Refusal("makes an OrderedDict of something that is not a list of pairs")
    result = Ordered()
    fill(result, [p[0] for p in pairs], [p[1] for p in pairs])
    return result


def _counter(_made: TorchVocabulary, counts: Any = None) -> dict[Any, Any]:
    if counts is not None and not isinstance(counts, dict):
        raise Refusal("makes a Counter of something that is not a dictionary")
    return {} if counts is None else counts


def _size(_made: TorchVocabulary, sides: Any = ()) -> tuple[int, ...]:
    if not whole_numbers(sides):
        raise Refusal("makes a torch.Size of something that is not whole numbers")
    return tuple(sides)


def _set(_made: TorchVocabulary, items: Any = ()) -> Set:
    if type(items) not in (list, tuple):
        raise Refusal("makes a set of something that is not a list")
    return Set(list(items))


def _inert(name: str, *kinds: type) -> Callable[..., Inert]:
    def make(_made: TorchVocabulary, *args: Any) -> Inert:
        if not all(type(arg) in kinds for arg in args):
            raise Refusal(f"calls {name!r} with arguments that are not plain")
        return Inert(name)

    return make


_TENSORS = "torch._utils._rebuild_"
_TABLE: dict[str, tuple[Callable[..., Any], int, int]] = {
    _TENSORS + "tensor": (_tensor, 4, 4),
    _TENSORS + "tensor_v2": (_tensor, 6, 7),
    _TENSORS + "tensor_v3": (_tensor_of_dtype, 7, 8),
    _TENSORS + "parameter": (_parameter, 3, 3),
    _TENSORS + "parameter_with_state": (_parameter, 4, 4),
    _TENSORS + "device_tensor_from_cpu_tensor": (_moved, 4, 4),
    _TENSORS + "qtensor": (_quantized, 7, 7),
    _TENSORS + "sparse_tensor": (_sparse, 2, 2),
    _TENSORS + "nested_tensor": (_nested, 4, 4),
    _TENSORS + "meta_tensor_no_storage": (_meta, 4, 4),
    "torch._tensor._rebuild_from_type_v2": (_from_type, 4, 4),
    "torch.Size": (_size, 0, 1),
    "torch.device": (_inert("torch.device", str, int), 1, 2),
    "torch.serialization._get_layout": (_inert("torch.layout", str), 1, 1),
    "collections.OrderedDict": (_ordered, 0, 1),
    "collections.Counter": (_counter, 0, 1),
    "builtins.set": (_set, 0, 1),
    "builtins.frozenset": (_set, 0, 1),
    "builtins.complex": (_inert("builtins.complex", float), 2, 2),
    "builtins.bytearray": (_inert("builtins.bytearray", Inert, str, bytes), 0, 2),
    "_codecs.encode": (_inert("builtins.bytes", str), 1, 2),
}
_CALLS = {name: entry[0] for name, entry in _TABLE.items()}
_ARGUMENTS = {name: entry[1:] for name, entry in _TABLE.items()}
_CONSTANTS = (
    *("torch.Tensor", "torch.nn.parameter.Parameter", "torch.storage.UntypedStorage"),
    *("torch.per_tensor_affine", "torch.per_tensor_symmetric", "torch.per_channel_affine"),
    *("torch.per_channel_symmetric", "torch.per_channel_affine_float_qparams"),
)

STORAGE_NAMES = {
    **{f"{module}.{name}": dtype for name, dtype in STORAGES.items() for module in ("torch", "torch.cuda")},
    "torch.storage.UntypedStorage": "uint8",
}
"""Global → dtype of the storage class it names."""

ALLOWED = frozenset({*_CALLS, *_CONSTANTS, *STORAGE_NAMES, *(f"torch.{dtype}" for dtype in ITEM_BYTES)})
"""Every global that a file may name."""
