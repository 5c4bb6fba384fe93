"""What one tensor is by its own name, dtype and shape: a matrix, or why it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

FLOATS = frozenset(
    (
        *("float16", "bfloat16", "float32", "float64", "longdouble", "float128"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
)

_NOT_PLAIN = ("sparse", "nested", "meta", "lazy", "qint", "quint", "quantized")
"""What the reader of PyTorch files calls tensors that are no array of numbers."""

_OPTIMIZER = re.compile(r"(^|[./])(exp_avg|exp_avg_sq|max_exp_avg_sq|momentum_buffer|optimizer(_state)?)([./]|$)")
_EMBEDDING = re.compile(r"(^|[._/])(embed|embedding|embeddings|embed_tokens|wte|wpe|tok_emb)([._/]|$|s[._/])")
_SCALES = re.compile(r"(weight_scale(_inv)?|[._]scales?|scale_inv|zero_point|qzeros|absmax|g_idx)$")
_INDICES = re.compile(r"(position_ids|_ids|indices|index|_idx|num_batches_tracked|perm)$")
_VECTORS = (
    (re.compile(r"bias$|_bias$|[._]b$|bias_[ih]h"), "bias"),
    (re.compile(r"running_(mean|var)$"), "running statistic"),
    (re.compile(r"inv_freq$"), "rotary frequencies"),
    (re.compile(r"(gamma|beta)$|(norm|ln|bn)[^/]*[._](weight|scale)$|scale$", re.IGNORECASE), "scale"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """status: 'weight' (to be measured), 'not_a_map', 'refused' or 'optimizer'; reason in words."""

    status: str
    kind: str
    reason: str = ""


def identify(name: str, dtype: str, shape: tuple[int, ...]) -> Identity:
    """What a tensor of a checkpoint is, before layer rules know better."""
    if _OPTIMIZER.search(name):
        return Identity("optimizer", "optimizer state")
    if dtype not in FLOATS:
        return _not_floating(name, dtype, shape)
    if _SCALES.search(name) and len(shape) >= 2:
        return Identity("not_a_map", "block scales", "scales of quantized blocks")
    if len(shape) <= 1:
        return Identity("not_a_map", *_vector(name, shape))
    if len(shape) == 2:
        return Identity("weight", "embedding" if _EMBEDDING.search(name) else "linear")
    return Identity(
        "refused",
        "tensor",
        f"a tensor of {len(shape)} dimensions is no matrix, and a kernel reshaped into one is not the layer",
    )


def _vector(name: str, shape: tuple[int, ...]) -> tuple[str, str]:
    if not shape:
        return "scalar", "a single number"
    for pattern, kind in _VECTORS:
        if pattern.search(name):
            return kind, f"a vector of {shape[0]}: {kind}"
    return "vector", f"a vector of {shape[0]}: no matrix acts by it alone"


def _not_floating(name: str, dtype: str, shape: tuple[int, ...]) -> Identity:
    if dtype == "bool":
        return Identity("not_a_map", "mask", "a mask of true and false")
    if dtype.startswith("complex"):
        return Identity("refused", "complex", f"dtype {dtype}: complex weights are not measured")
    if dtype == "float8_e8m0fnu":
        return Identity("not_a_map", "block scales", "powers of two that scale quantized blocks")
    whole = re.fullmatch(r"u?int(8|16|32|64)", dtype) is not None
    if whole and (len(shape) <= 1 or _INDICES.search(name)):
        return Identity("not_a_map", "indices", f"whole numbers of dtype {dtype}: positions, counts or indices")
    if whole and _SCALES.search(name):
        return Identity("not_a_map", "block scales", "zero points or scales of quantized blocks")
    if whole:
        reason = f"codes of dtype {dtype} without the scales that give them meaning; dequantize the weight first"
        return Identity("refused", "quantized codes", reason)
    if dtype.startswith(_NOT_PLAIN):
        reason = f"a {dtype[:40]} tensor is not read: save it as a plain one, by .to_dense(), .dequantize() or .clone()"
        return Identity("refused", "tensor that is not plain", reason)
    return Identity("refused", "unknown dtype", f"the dtype {dtype[:40]!r} is not known; save the weight as float16, "
        "bfloat16, float32 or float64")  # fmt: skip
