"""Rows that span a layer and the normalization beside it, as one operator.

A BatchNorm after a layer scales its outputs, diag(s)·W with s = γ/√(var + ε): for a convolution that is the
convolution with its kernel's output channels scaled, as compilers fold it for inference. A LayerNorm or RMSNorm
before a layer scales its inputs, W·diag(γ); LayerNorm's output before γ has mean 0, so only W·diag(γ)(I − 11ᵀ/n) acts.

s is first shortened to 24 significant bits, which makes its products with float32 weights exact; that changes the
norm by at most a factor 1 ± (2⁻²⁴ + γ₄), which `opnorm.linalg.near` adds to both ends. A kernel of longer numbers
rounds once more, ΔK with |Δk| ≤ u|k|: entry by entry the operator of ΔK is at most u times that of |K|, whose norm is
at most Σ_taps‖K_tap‖_F times that of the padding, and no padding maps one position onto more than
p_before + p_after + 1, or, if circular or reflecting, three an axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.layers.normalization import evaluation_scales, scale_tensors
from opnorm.layers.plan import Arrays, Entry
from opnorm.layers.vectors import numbers
from opnorm.linalg.diagonal import shortened
from opnorm.linalg.folded import folded
from opnorm.linalg.near import Near
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import TINY, UNIT, Float64, gamma, ldexp_up, up
from opnorm.linalg.stored import StoredMatrix

SMALLEST = 2.0**-450
"""Kernels and scales whose numbers are 0 or at least this have products without underflow."""


def folded_batch_norm(
    layer: Entry,
    names: Mapping[str, str],
    *,
    eps: float,
    label: str,
    padding: int | None = None,
    transposed: bool = False,
) -> Entry:
    """diag(γ/√(var + ε))·W for the row `layer` (a convolution, or dense) and the BatchNorm after it.

    names: as in `batch_norm`. label: the BatchNorm's own name. padding: the most positions that a side of the input
    is padded by, or None where that is not known. transposed: the kernel is laid out as (inputs, outputs/groups, …).
    """

    def build(arrays: Arrays) -> LinearOperator:
        exact, error = evaluation_scales(arrays, names, eps)
        scales, short = shortened(exact)
        relative = up(short + 2 * error)
        if len(layer.shape) == 2:
            return folded(_stored(layer, arrays), rows=scales, relative=relative)
        kernel = arrays[layer.tensors[0]]
        wide = numbers(kernel).reshape(tuple(kernel.shape))
        scaled = scaled_outputs(wide, scales, transposed=transposed)
        operator = aslinearoperator(_built(layer, {**arrays, layer.tensors[0]: scaled}))
        return Near(operator, relative=relative, absolute=_rounded(wide, scaled, padding))

    tensors = (*layer.tensors, *scale_tensors(names))
    words = f"diag(γ/√(var + ε)), ε = {eps:g}, after {layer.operator}"
    return Entry(
        folded_name(layer.name, label), tensors, f"{layer.kind} with batch norm", words, layer.shape, layer.dtype,
        derived=True, build=build,
    )  # fmt: skip


def folded_scale(
    layer: Entry, scale: str, *, centered: bool, label: str, transposed: bool = False, plus_one: bool = False
) -> Entry:
    """W·diag(γ) for the dense row `layer` and the RMSNorm before it; centered: LayerNorm, W·diag(γ)(I − 11ᵀ/n).

    scale: the name of γ. transposed: W is stored as inputs by outputs. plus_one: the layer applies 1 + γ (Gemma).
    """

    def build(arrays: Arrays) -> LinearOperator:
        base, scales, relative = _stored(layer, arrays), numbers(arrays[scale]), 0.0
        if plus_one:
            scales, short = shortened(1.0 + scales)
            relative = up(short + 2 * UNIT)
        weight = base.T if transposed else base
        assert isinstance(weight, StoredMatrix)
        if scales.size != weight.shape[1]:
            raise UnsupportedInput(
                f"{scale} has {scales.size} scales for the {weight.shape[1]} inputs of {layer.name}: they are not "
                "neighbours; report the model"
            )
        return folded(weight, columns=scales, centered=centered, relative=relative)

    gamma_words = "diag(1 + γ)" if plus_one else "diag(γ)"
    words = f"{layer.operator}, times {gamma_words}{'(I − 11ᵀ/n)' if centered else ''}"
    kind = f"{layer.kind} with {'layer norm' if centered else 'RMS norm'}"
    name, tensors = folded_name(layer.name, label), (*layer.tensors, scale)
    return Entry(name, tensors, kind, words, layer.shape, layer.dtype, derived=True, build=build)


def folded_name(name: str, label: str) -> str:
    """`conv1[bn1 folded]` for `conv1.weight`; a suffix is kept, as in `attn.qkv[q, norm1 folded]`."""
    stem, bracket, suffix = name.partition("[")
    inner = f"{suffix[:-1]}, {label} folded" if bracket else f"{label} folded"
    return f"{stem.removesuffix('.weight')}[{inner}]"


def scaled_outputs(kernel: Float64, scales: Float64, *, transposed: bool) -> Float64:
    """The kernel with each output channel scaled. A transposed one has outputs o = g·(outputs/groups) + j at
    [inputs of group g, j].
    """  # fmt: skip
    for numbers_ in (kernel, scales):
        if (smallest := float(np.abs(numbers_[numbers_ != 0]).min(initial=1.0))) < SMALLEST:
            raise UnsupportedInput(
                f"a number of size {smallest:.3g} is too small to be folded; rescale the layer first"
            )
    outputs, rest = scales.size, (1,) * (kernel.ndim - 2)
    if not transposed:
        if outputs != kernel.shape[0]:
            raise UnsupportedInput(f"{outputs} scales for {kernel.shape[0]} output channels: they are not neighbours")
        return np.asarray(kernel * scales.reshape(-1, 1, *rest))
    groups, left = divmod(outputs, kernel.shape[1])
    if left or groups == 0 or kernel.shape[0] % groups:
        raise UnsupportedInput(f"{outputs} scales do not fit a transposed kernel of shape {kernel.shape}")
    grouped = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:])
    return np.asarray((grouped * scales.reshape(groups, 1, -1, *rest)).reshape(kernel.shape))


def _rounded(kernel: Float64, scaled: Float64, padding: int | None) -> float:
    """How far rounding the scaled kernel can move the norm: 0 where its numbers fit float32, so products are exact."""
    with np.errstate(over="ignore"):
        if (kernel.astype(np.float32) == kernel).all():
            return 0.0
    if padding is None:
        raise UnsupportedInput("a float64 kernel of unknown padding is not folded; give its settings")
    axes, exponent = kernel.ndim - 2, math.frexp(float(np.abs(scaled).max()))[1]
    taps = np.ldexp(scaled, -exponent).reshape(*scaled.shape[:2], -1)
    total = float(np.sqrt(np.einsum("oct,oct->t", taps, taps) + taps.size * TINY).sum())
    repeats = math.sqrt(max(3, 2 * padding + 1)) ** axes
    return ldexp_up(up(4 * UNIT * total * repeats * (1 + gamma(scaled.size + 8)), 16), exponent)


def _stored(layer: Entry, arrays: Arrays) -> StoredMatrix:
    operator = aslinearoperator(_built(layer, arrays))
    if not isinstance(operator, StoredMatrix):
        raise UnsupportedInput(f"{layer.name} is not a stored matrix: a normalization is not folded into it")
    return operator


def _built(layer: Entry, arrays: Arrays) -> Any:
    assert layer.build is not None
    return layer.build(arrays)
