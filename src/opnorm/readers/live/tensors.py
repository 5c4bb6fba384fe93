"""The tensors of a live model, by the names that `state_dict` gives them; nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opnorm.layers.modules import qualified

_LAZY = frozenset(("torch.nn.parameter.UninitializedParameter", "torch.nn.parameter.UninitializedBuffer"))

_FAKE = "torch._subclasses.fake_tensor.FakeTensor"

_SHARDED = "torch.distributed.tensor.DTensor"


@dataclass(frozen=True, slots=True)
class Stored:
    """A parameter or persistent buffer: where it is, and either its tensor or why it cannot be read.

    role: its own name in its module. first: the name of an earlier tensor with the same memory, shape and strides.
    """

    path: str
    role: str
    name: str
    tensor: Any
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    problem: str = ""
    first: str = ""


def stored_tensors(model: Any, *, sharded: bool = False) -> list[Stored]:
    """Every one of them, in the order of `state_dict`. sharded: DTensors are taken for what they are the parts of."""
    seen: dict[object, str] = {}
    return [_stored(path, role, tensor, seen, sharded) for path, role, tensor in _named(model)]


def _named(model: Any) -> Iterator[tuple[str, str, Any]]:
    for path, module in model.named_modules(remove_duplicate=False):
        transient = module._non_persistent_buffers_set
        for role, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and role not in transient:
                yield path, role, tensor


def _stored(path: str, role: str, tensor: Any, seen: dict[object, str], sharded: bool) -> Stored:
    name = joined_path(path, role)
    dtype = dtype_words(tensor)
    problem = _problem(tensor)
    first = seen.setdefault(_memory(tensor, problem), name)
    first = "" if first == name else first
    if sharded and qualified(type(tensor)) == _SHARDED:
        problem = ""
    if qualified(type(tensor)) in _LAZY:
        return Stored(path, role, name, tensor, (), dtype, 0, problem, first)
    return Stored(path, role, name, tensor, tuple(tensor.shape), dtype, _bytes(tensor), problem, first)


def joined_path(path: str, name: str) -> str:
    """`name` below the module `path`."""
    return f"{path}.{name}" if path else name


def dtype_words(tensor: Any) -> str:
    """`float32` for torch.float32."""
    return str(tensor.dtype).removeprefix("torch.")


def _bytes(tensor: Any) -> int:
    return int(tensor.numel()) * int(tensor.element_size())


def _problem(tensor: Any) -> str:
    if qualified(type(tensor)) in _LAZY:
        return "a lazy parameter has no shape yet: run the model once on an example, then measure it"
    if hasattr(type(tensor), "__tensor_flatten__"):
        return f"its entries are held by a {type(tensor).__name__}: dequantize or gather the weight first"
    if tensor.is_meta:
        return "a tensor on the meta device has a shape and no entries: load its weights first"
    if str(tensor.layout) != "torch.strided":
        return f"a tensor of layout {tensor.layout} is not read: use tensor.to_dense()"
    if (hasattr(tensor, "ds_id") and not _bytes(tensor)) or (_bytes(tensor) and _without_memory(tensor)):
        return "its memory was given back, as sharding and fake tensors do: gather or load the weights first"
    if tensor.is_quantized:
        return "a quantized tensor holds codes: measure the model before it was quantized"
    return ""


def _without_memory(tensor: Any) -> bool:
    """Whether the host or a GPU holds less than its entries: reading them would read what is not theirs."""
    if any(qualified(kind) == _FAKE for kind in type(tensor).__mro__):
        return True
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    reach = (tensor.storage_offset() + last + 1) * tensor.element_size()
    return tensor.device.type in ("cpu", "cuda") and bool(tensor.untyped_storage().nbytes() < reach)


def _memory(tensor: Any, problem: str) -> object:
    """Equal for tensors that are views of the same memory in the same way; by identity where there is no memory."""
    if problem or not tensor.numel():
        return id(tensor)
    place = (str(tensor.device), tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()))
    return (*place, str(tensor.dtype), tensor.is_conj(), tensor.is_neg())
