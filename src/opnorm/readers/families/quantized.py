"""Codes of 8 bits beside their scales; other quantized layouts are refused by name."""

from __future__ import annotations

from opnorm.layers.plan import Layer
from opnorm.layers.quantized import CODES, REMEDY, SCALES, Block, packed, quantized, refused
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import Config, section, word
from opnorm.readers.families.book import Book

_METHODS = ("fp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "quanto", "torchao")
_ENDINGS = ("_scale", "_scale_inv", "_scales", "_scale_2", ".scale", ".scales")
_NAMES = (*SCALES, "weight_scale_2", "scale", "scales", "scale_inv", "qscale_weight", "SCB")
"""How scales of codes are called: after the codes' own name, or in their module."""

_ZEROS = ("weight_zero_point", "weight_offset", "weight_zp", "zero_point", "zero_points", "zeros", "qzeros")
"""How the zero points of asymmetric codes are called; codes with them are not code·scale."""

_BITS = ("bits", "num_bits", "w_bit", "weight_bits", "wbits")
_FOUR_BIT = "codes of bitsandbytes, two of 4 bits to a byte, with scales beside: this layout is not read; "


def quantized_weights(book: Book) -> list[Layer]:
    """Layers of codes: with scales, with zero points, of 4 bits, and without what they need."""
    layers = [_with_scales(book, path, ending) for ending in SCALES for path in list(book.paths(f".{ending}"))]
    layers += [_packed(book, path) for path in list(book.paths(".weight.absmax"))]
    layers += [_packed(book, path) for path in list(book.paths(".SCB"))]
    layers += [_alone(book, t) for t in list(book.rest()) if _is_code(book, t)]
    layers += [_beside(book, t) for t in list(book.rest()) if t.dtype in CODES and len(t.shape) >= 2]
    return [layer for layer in layers if layer is not None]


def _with_scales(book: Book, path: str, ending: str) -> Layer | None:
    codes, scale = book.get(f"{path}.weight"), book.get(f"{path}.{ending}")
    if codes is None or scale is None or not (codes.dtype in CODES or "int" in codes.dtype):
        return None
    zeros = [f"{path}.{name}" for name in _ZEROS if f"{path}.{name}" in book.tensors]
    others = [name for name in _companions(book, codes) if name != scale.name]
    if codes.dtype == "int8" and _fewest_bits(section(book.config, "quantization_config")) < 8:
        reason = f"config.json gives codes of fewer than 8 bits, which int8 may hold in pairs: not read; {REMEDY}"
        return book.layer(path, {codes.name: (refused(codes.name, codes.shape, codes.dtype, reason),)}, (), [codes])
    if zeros or others:
        reason = packed(["weight_zero_point"]) if zeros else _unread(codes, [scale.name, *others])
        return book.layer(path, {codes.name: (refused(codes.name, codes.shape, codes.dtype, reason),)}, (), [codes])
    block = given_block(book.config)
    rows = quantized(codes.name, codes.shape, codes.dtype, scale=scale.name, scale_shape=scale.shape, block=block)
    return book.layer(path, {codes.name: rows[:1], scale.name: rows[1:]}, (), [codes, scale])


def _fewest_bits(settings: object, depth: int = 0) -> int:
    """The least number of bits that a quantization's settings, nested as they are, give to anything; 8 if none."""
    if not isinstance(settings, dict) or depth > 6:
        return 8
    given = [v for key, v in settings.items() if key in _BITS and type(v) is int]
    return min([8, *given, *(_fewest_bits(inner, depth + 1) for inner in settings.values())])


def given_block(config: Config | None) -> Block | None:
    """The block that `quantization_config` gives, if it gives a sound one."""
    sides = (section(config, "quantization_config") or {}).get("weight_block_size")
    if isinstance(sides, list) and len(sides) == 2 and all(type(s) is int and 0 < s <= 1 << 20 for s in sides):
        return sides[0], sides[1]
    return None


def _packed(book: Book, path: str) -> Layer | None:
    """The codes of bitsandbytes, whose scales stand beside them under names of their own."""
    codes = book.get(f"{path}.weight")
    if codes is None or codes.dtype not in ("int8", "uint8"):
        return None
    reason = packed([f"{path}.SCB"]) if codes.dtype == "int8" else _FOUR_BIT + REMEDY
    return book.layer(path, {codes.name: (refused(codes.name, codes.shape, codes.dtype, reason),)}, (), [codes])


def _is_code(book: Book, tensor: Tensor) -> bool:
    """Whether the configuration says that a float8 matrix holds codes, not numbers."""
    method = word(section(book.config, "quantization_config"), "quant_method")
    return tensor.dtype in CODES and tensor.dtype != "int8" and len(tensor.shape) >= 2 and method in _METHODS


def _alone(book: Book, codes: Tensor) -> Layer:
    reason = f"codes of dtype {codes.dtype}, as config.json says, without the scales that give them meaning; {REMEDY}"
    return book.layer(codes.name, {codes.name: (refused(codes.name, codes.shape, codes.dtype, reason),)}, (), [codes])


def _beside(book: Book, codes: Tensor) -> Layer | None:
    """Codes with scales beside them that no rule reads: under other names, or for stacks of experts."""
    found = _companions(book, codes)
    if not found:
        return None
    reason = _unread(codes, found)
    return book.layer(codes.name, {codes.name: (refused(codes.name, codes.shape, codes.dtype, reason),)}, (), [codes])


def _companions(book: Book, codes: Tensor) -> list[str]:
    """Tensors of scales for these codes, by name: of the same module, or the codes' own name and more."""
    module = codes.name.rpartition(".")[0]
    names = [f"{codes.name}{end}" for end in _ENDINGS] + [f"{module}.{name}" for name in _NAMES]
    return [name for name in dict.fromkeys(names) if name in book.tensors and name != codes.name]


def _unread(codes: Tensor, scales: list[str]) -> str:
    shown = ", ".join(name[:80] for name in scales[:3])
    return f"codes of dtype {codes.dtype} with scales in a layout that is not read ({shown}); {REMEDY}"
