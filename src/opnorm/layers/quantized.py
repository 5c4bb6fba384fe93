"""Quantized weights: codes of 8 bits with the tensor of scales that gives them meaning.

The weight is code·scale, one scale a tensor, a row, a column group or a block (DeepSeek's `weight_scale_inv`
multiplies, whatever its name says, in blocks of 128×128). Products are exact in float64 and formed while streaming
(`opnorm.frameworks.scaled_blocks`), so that the proofs hold for the dequantized weights. Codes without their scales
are never measured: their norm says nothing. Packed layouts are refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opnorm.frameworks.numpy import FLOAT8
from opnorm.frameworks.scaled_blocks import ScaledBlocks
from opnorm.layers.linear import dense_words
from opnorm.layers.plan import Arrays, Build, Entry

CODES = ("int8", *FLOAT8)
SCALES = ("weight_scale_inv", "weight_scale", "scale_weight")
"""Names beside `weight` under which tensors of scales are multiplied with it."""

INVERSE_BLOCK = (128, 128)
"""The block of a `weight_scale_inv` whose configuration gives none."""

PACKED = {
    "qweight": "GPTQ or AWQ codes, packed into 32-bit words with zero points and groups",
    "qzeros": "GPTQ or AWQ zero points, packed into 32-bit words",
    "weight_packed": "compressed-tensors codes of 4 bits, packed into words",
    "weight_zero_point": "zero points of an asymmetric quantization",
    "SCB": "scales of bitsandbytes' 8-bit rows",
    "absmax": "scales of bitsandbytes' 4-bit blocks",
    "nested_absmax": "scales of bitsandbytes' 4-bit blocks",
    "quant_map": "the table of bitsandbytes' 4-bit codes",
    "nested_quant_map": "the table of bitsandbytes' 4-bit codes",
    "_blocks": "MXFP4 codes, two of 4 bits to a byte",
}
"""How a tensor's name ends → a quantized layout that is known and not read."""

REMEDY = "dequantize the weight first"

Block = tuple[int, int]


def quantized(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    scale: str,
    scale_shape: tuple[int, ...],
    block: Block | None = None,
    kind: str = "linear",
) -> tuple[Entry, ...]:
    """The row of codes·scales, and that of the scales, which is no map.

    `block`: as the configuration gives it; else what the shapes say. Scales that do not fit give a refused row.
    """
    scales = Entry(scale, (scale,), "block scales", "", scale_shape, status="not_a_map", reason=f"scales of {name}")
    found = block_of(shape, scale_shape, block, inverse=scale.endswith("_inv"))
    if dtype not in CODES or len(shape) != 2 or found is None:
        return refused(name, shape, dtype, _misfit(shape, dtype, scale, scale_shape, block)), scales
    words = f"{dense_words(shape)}, {dtype} codes, {scale_words(shape, found)}"
    build = _scaled(name, scale, found, _grid(shape, found))
    return Entry(name, (name, scale), kind, words, shape, dtype, build=build), scales


def refused(name: str, shape: tuple[int, ...], dtype: str, reason: str) -> Entry:
    """The row of codes that are not measured."""
    return Entry(name, (name,), "quantized codes", "", shape, dtype, status="refused", reason=reason)


def packed(names: Sequence[str]) -> str:
    """The layout, among those known and not read, that the names of one module's tensors give away; else ''."""
    for name in names:
        for ending, words in PACKED.items():
            if name.rpartition(".")[2] == ending or (ending.startswith("_") and name.endswith(ending)):
                return f"{words}: this layout is not read; {REMEDY}"
    return ""


def block_of(shape: tuple[int, ...], scale: tuple[int, ...], given: Block | None, *, inverse: bool) -> Block | None:
    """The block (rows, columns) that one scale covers; None where the shapes do not fit one another.

    One scale: the tensor. One a row, flat or a column: rows. A grid: blocks as given, 128×128 for an inverse
    scale, else sides that divide exactly.
    """
    if len(shape) != 2 or 0 in shape:
        return None
    rows, columns = shape
    if scale in ((), (1,), (1, 1)) and given is None:
        return (rows, columns) if not inverse or max(shape) <= min(INVERSE_BLOCK) or scale != (1, 1) else None
    if scale in ((rows,), (rows, 1)) and given is None and not (inverse and len(scale) == 2):
        return 1, columns
    if len(scale) != 2 or 0 in scale:
        return None
    if given is None and not inverse:
        divides = rows % scale[0] == 0 and columns % scale[1] == 0
        return (rows // scale[0], columns // scale[1]) if divides else None
    block = given or INVERSE_BLOCK
    return block if scale == _grid(shape, block) else None


def scale_words(shape: tuple[int, ...], block: Block) -> str:
    """Such as 'a scale each 128x128'."""
    if block == shape[-2:]:
        return "one scale"
    return "a scale each row" if block == (1, shape[-1]) else f"a scale each {block[0]}x{block[1]}"


def _grid(shape: tuple[int, ...], block: Block) -> Block:
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def _scaled(name: str, scale: str, block: Block, grid: Block) -> Build:
    def build(arrays: Arrays) -> Any:
        return ScaledBlocks(arrays[name], arrays[scale].reshape(grid), block)

    return build


def _misfit(shape: tuple[int, ...], dtype: str, scale: str, scale_shape: tuple[int, ...], block: Block | None) -> str:
    if dtype not in CODES:
        return f"codes of dtype {dtype} with scales: int8 and float8 are read; {REMEDY}"
    blocks = f" in blocks of {block[0]}x{block[1]}" if block else ""
    return (
        f"the scales {scale[:80]!r} of shape {scale_shape} do not fit codes of shape {shape}{blocks}: give one scale, "
        f"one a row or one a block, or {REMEDY}"
    )
