"""What no rule took: parameters and buffers of classes that are not known, and weights hidden from view."""

from __future__ import annotations

import math
import re
from typing import Any

from opnorm.layers.linear import linear
from opnorm.layers.modules import Held, qualified
from opnorm.layers.plan import Entry
from opnorm.layers.vectors import COUNTS, not_a_map, refused

PARAMETRIZATION = "parametrizations."
"""Below this part of a name torch keeps what computed weights are made of."""

_WHOLE = re.compile(r"u?int(8|16|32|64)")
_FLOATING = re.compile(r"b?float(16|32|64)|float8_\w+")
_LIBRARIES = ("torchvision.", "timm.", "transformers.")
"""Their classes use a name for one thing, as a user's own class need not."""

_POSITIONS = re.compile(r"(^|\.)(abs_)?pos(ition)?(al)?_?embed(ding)?s?$")
_PACKED = re.compile(r"^torch\.(ao\.)?nn\.(\w+\.)*quantized\.")


def of_unknown_use(held: Held, module: Any) -> Entry:
    """The row of a tensor that the rule of its module left out, or whose module has no rule."""
    name, shape, dtype = held.name, held.shape, held.dtype
    if name.startswith(PARAMETRIZATION) or f".{PARAMETRIZATION}" in name:
        return not_a_map(name, shape, dtype, "parametrization", "the state of a parametrization, not a weight")
    if dtype == "bool":
        return not_a_map(name, shape, dtype, "mask", "a mask of true and false")
    if _WHOLE.fullmatch(dtype):
        return _whole_numbers(held, module)
    if not _FLOATING.fullmatch(dtype):
        return refused(name, shape, dtype, "unknown dtype", f"entries of dtype {dtype} are not measured; convert them")
    if len(shape) <= 1:
        return not_a_map(name, shape, dtype, "bias" if name.endswith("bias") else "vector" if shape else "scalar")
    if math.prod(shape) == max(shape):
        size = "x".join(map(str, shape))
        return not_a_map(name, shape, dtype, "vector", f"a vector, shaped {size}: no matrix acts by it alone")
    if len(shape) >= 3 and _POSITIONS.search(name) and _class(module).startswith(_LIBRARIES):
        return not_a_map(name, shape, dtype, "constant", "a constant table, added to the input")
    if len(shape) == 2:
        return linear(
            name, shape, dtype, reason=f"how {_class(module)} uses it is not known: measured as the plain matrix"
        )
    return refused(
        name, shape, dtype, "tensor",
        f"parameter of an unknown module class {_class(module)}: its operator is not known; "
        "describe it as an opnorm.LinearOperator",
    )  # fmt: skip


def _whole_numbers(held: Held, module: Any) -> Entry:
    if len(held.shape) <= 1 or not held.dtype.endswith("int8"):
        return not_a_map(held.name, held.shape, held.dtype, "indices", COUNTS)
    reason = (
        f"codes of dtype {held.dtype} whose scales {_class(module)} keeps in its own way; dequantize the weight first"
    )
    return refused(held.name, held.shape, held.dtype, "quantized codes", reason)


def packed(path: str, module: Any) -> tuple[Entry, ...]:
    """A row for a module whose weights are no tensors that can be read, such as PyTorch's quantized ones."""
    if not (_PACKED.match(qualified(type(module))) and hasattr(module, "_packed_params")):
        return ()
    reason = f"{_class(module)} keeps its weight packed for one backend: measure the model before it was quantized"
    return (Entry(path or "model", (), "quantized codes", status="refused", reason=reason),)


def _class(module: Any) -> str:
    return qualified(type(module))
