"""What no rule of a family took: each tensor by its own name and shape.

A matrix is measured as the matrix it is. A kernel whose settings nothing gives has an upper bound for every way to
apply it. Constants are no maps. What is left has no meaning without its layer, and is refused with that reason.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

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
_DIRECTION = re.compile(r"(^|[._])(weight(_[ih]h_l\d+(_reverse)?)?_v|parametrizations\.\w+\.original1)$")
_MAGNITUDE = re.compile(r"(^|[._])(weight(_[ih]h_l\d+(_reverse)?)?_g|parametrizations\.\w+\.original0)$")
_BEFORE = re.compile(r"(^|[._])(weight\w*_orig|parametrizations\.\w+\.original)$")
_CHANNELS_LAST = re.compile(r"(^|_)kernel(:\d+)?$")
_TABLE = re.compile(r"(^|[._/])(\w*_?(embed|embedding|embeddings|embeds|emb)|embed_\w+|wte|wpe)([./]weight)?$")
"""Names whose own module is a table; layers inside an embedding module (`patch_embed.proj`, `time_embed.0`) are not."""

_PRUNED = re.compile(r"(^|[._])(weight|bias)\w*_mask$")

_PARAMETRIZED = (
    (_DIRECTION, "the direction of a weight-normalized weight, not the weight that the layer applies"),
    (_BEFORE, "a weight before its parametrization, not the weight that the layer applies"),
)
_NAMED = re.compile(r"weight|kernel|matrix|proj|embed|lora_|^w\d*$", re.IGNORECASE)
"""Last parts of names that a layer gives its matrix."""

_UNDECIDED = "how its layer uses it is not known: measured as the plain matrix"
_LIVE = "measure the live model for that"


def rows_of(tensor: Tensor, note: str = "") -> tuple[Entry, ...]:
    """The rows of a tensor alone, one but for bilinear forms; `note`: a sentence for their reason."""
    if len(tensor.shape) == 3 and "bilinear" in tensor.name.lower() and tensor.dtype in FLOATS:
        return bilinear(tensor.name, tensor.shape, tensor.dtype)
    return (_row(tensor, note),)


def _row(tensor: Tensor, note: str) -> Entry:
    name, shape, dtype = tensor.name, tensor.shape, tensor.dtype
    if _PRUNED.search(name):
        return not_a_map(name, shape, dtype, "mask", "which entries of the weight beside it pruning keeps")
    identity = identify(name, dtype, shape)
    if identity.status == "refused" and len(shape) >= 3 and identity.kind == "tensor":
        return _higher(name, shape, dtype, note)
    if identity.status != "weight":
        reason = (identity.status == "refused" and packed([name])) or identity.reason
        return Entry(name, (name,), identity.kind, "", shape, dtype, identity.status, reason)
    why = next((f"{words}: measured as the plain matrix" for p, words in _PARAMETRIZED if p.search(name)), "")
    if not why and identity.kind == "linear" and "." in name and not _NAMED.search(re.split(r"[./]", name)[-1]):
        why = _UNDECIDED
    if _MAGNITUDE.search(name) and 1 in shape:
        return not_a_map(name, shape, dtype, "scale", "the magnitudes of a weight-normalized weight")
    rule = embedding if identity.kind == "embedding" and _TABLE.search(name) else linear
    row = rule(name, shape, dtype, reason="; ".join(p for p in (why, note) if p))
    before = any(pattern.search(name) for pattern, _ in _PARAMETRIZED)
    return replace(row, part=None) if before else row  # to write it would not write the weight that acts


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
    if _CHANNELS_LAST.search(last) or ("/" in name and last != "bias"):
        reason = "a kernel of Haiku, Keras or Flax: its layer decides the order of axes; export it to PyTorch's layout"
        return refused(name, shape, dtype, "kernel", reason)
    if (rank in (4, 5) and _CONVOLUTION.search(name)) or (rank == 3 and "conv" in name.lower() and last != "bias"):
        reason = "; ".join(p for p in (note, UNKNOWN_SETTINGS) if p)
        return convolution(name, shape, dtype, settings=None, reason=reason)
    reason = (
        f"a tensor of {rank} dimensions whose layer is not known: no matrix, and a kernel reshaped into one is not the "
        f"layer; {_LIVE}, or measure it as an opnorm.Convolution or an opnorm.LinearOperator"
    )
    return refused(name, shape, dtype, "tensor", reason)
