"""What no rule of a family took: each tensor by its own name and shape.

A matrix is measured as the matrix it is. A kernel whose settings nothing gives has an upper bound for every way to
apply it. Constants are no maps. What is left has no meaning without its layer, and is refused with that reason.
"""

from __future__ import annotations

import math
import re

from opnorm.layers.bilinear import bilinear
from opnorm.layers.convolution import convolution
from opnorm.layers.embedding import embedding
from opnorm.layers.linear import linear
from opnorm.layers.plan import Entry
from opnorm.layers.quantized import packed
from opnorm.layers.vectors import not_a_map, refused
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.identity import FLOATS, identify

UNKNOWN_SETTINGS = "the checkpoint does not say how the kernel is applied: a bound for every way, none from below"

_CONSTANT = re.compile(
    r"(^|[._/])((cls|class|mask|dist|distillation|register|query|storage|latent)_?(tokens?|embedding)|register_tokens"
    r"|(absolute_|abs_)?pos(ition)?(al)?_?embed(ding)?s?|latents|logit_scale)$"
)
_CONVOLUTION = re.compile(r"conv|(^|[._])(weight|filters?|w)$", re.IGNORECASE)
_DIRECTION = re.compile(r"[._](weight_v|parametrizations\.weight\.original1)$")
_MAGNITUDE = re.compile(r"[._](weight_g|parametrizations\.weight\.original0)$")
_BEFORE = re.compile(r"[._](weight_orig|parametrizations\.weight\.original)$")

_PARAMETRIZED = (
    (_DIRECTION, "the direction of a weight-normalized weight, not the weight that the layer applies"),
    (_BEFORE, "a weight before its parametrization, not the weight that the layer applies"),
)
_LIVE = "measure the live model for that"


def rows_of(tensor: Tensor, note: str = "") -> tuple[Entry, ...]:
    """The rows of a tensor alone, one but for bilinear forms; `note`: a sentence for their reason."""
    if len(tensor.shape) == 3 and "bilinear" in tensor.name.lower() and tensor.dtype in FLOATS:
        return bilinear(tensor.name, tensor.shape, tensor.dtype)
    return (_row(tensor, note),)


def _row(tensor: Tensor, note: str) -> Entry:
    name, shape, dtype = tensor.name, tensor.shape, tensor.dtype
    identity = identify(name, dtype, shape)
    if identity.status == "refused" and len(shape) >= 3 and identity.kind == "tensor":
        return _higher(name, shape, dtype, note)
    if identity.status != "weight":
        reason = (identity.status == "refused" and packed([name])) or identity.reason
        return Entry(name, (name,), identity.kind, "", shape, dtype, identity.status, reason)
    why = next((f"{words}: measured as the plain matrix" for p, words in _PARAMETRIZED if p.search(name)), "")
    if _MAGNITUDE.search(name) and 1 in shape:
        return not_a_map(name, shape, dtype, "scale", "the magnitudes of a weight-normalized weight")
    rule = embedding if identity.kind == "embedding" else linear
    return rule(name, shape, dtype, reason="; ".join(p for p in (why, note) if p))


def _higher(name: str, shape: tuple[int, ...], dtype: str, note: str) -> Entry:
    rank, last = len(shape), re.split(r"[./]", name)[-1]
    if _CONSTANT.search(name) or _CONSTANT.search(name.removesuffix(".weight")):
        return not_a_map(name, shape, dtype, "constant", "a constant vector or table, added or put beside the input")
    if math.prod(shape) == max(shape) and _MAGNITUDE.search(name):
        return not_a_map(name, shape, dtype, "scale", "the magnitudes of a weight-normalized weight")
    if shape[:2] == (1, 1) and last in ("bias", "mask"):
        return not_a_map(name, shape, dtype, "mask", "a mask of positions")
    for pattern, words in _PARAMETRIZED:
        if pattern.search(name):
            return refused(name, shape, dtype, "parametrization", f"{words}; {_LIVE}")
    if last == "kernel":
        reason = "a kernel of Keras or Flax, whose order of axes its layer decides; export it to PyTorch's layout"
        return refused(name, shape, dtype, "kernel", reason)
    if (rank in (4, 5) and _CONVOLUTION.search(name)) or (rank == 3 and "conv" in name.lower() and last != "bias"):
        reason = "; ".join(p for p in (note, UNKNOWN_SETTINGS) if p)
        return convolution(name, shape, dtype, settings=None, reason=reason)
    reason = (
        f"a tensor of {rank} dimensions whose layer is not known: no matrix, and a kernel reshaped into one is not the "
        f"layer; {_LIVE}, or measure it as an opnorm.Convolution or an opnorm.LinearOperator"
    )
    return refused(name, shape, dtype, "tensor", reason)
