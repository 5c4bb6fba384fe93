"""PEFT's LoRA adapters: `lora_A`, `lora_B`, their configuration, and the base weight where it is beside them."""

from __future__ import annotations

import re

from opnorm.layers.adapters import adapter, scale_of
from opnorm.layers.linear import linear
from opnorm.layers.plan import Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import Config, flag, number, section, word
from opnorm.readers.families.book import Book, is_weight

_A = re.compile(
    r"^(?P<path>.+)\.lora_(?P<embedding>embedding_)?A(?P<adapter>\.(?!weight$)[^.]+)?(?P<weight>\.weight)?$"
)
_BY_MAGNITUDE = "a weight-decomposed adapter (DoRA) rescales W + s·B·A by magnitudes of its own; merge it to measure it"
_VARIANTS = (
    *("alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "monteclora_config", "velora_config"),
)
"""Settings with which an adapter adds something else, or not to every token."""

_CODES = (
    "the base weight is no matrix of floating-point numbers; dequantize it, or merge the adapter, to measure the sum"
)


def adapters(book: Book) -> list[Layer]:
    """A layer for each adapted module."""
    return [layer for tensor in list(book.rest()) if (layer := _adapted(book, tensor)) is not None]


def _adapted(book: Book, a: Tensor) -> Layer | None:
    match = _A.match(a.name) if ".lora_" in a.name else None
    if match is None:
        return None
    path, embedding, label = match["path"], match["embedding"] or "", match["adapter"] or ""
    ending = f"{label}{match['weight'] or ''}"
    pair = book.matrices(a.name, f"{path}.lora_{embedding}B{ending}")
    if not pair or pair[0].shape[0] != pair[1].shape[1] or 0 in a.shape:
        return None
    b, config = pair[1], section(book.config, "adapter_config") or book.config
    base, problem = _base(book, path, config, ending)
    transposed = bool(embedding) or flag(config, "fan_in_fan_out")
    entries = adapter(
        path, a.name, b.name, a.shape, b.shape, a.dtype,
        scale=scale(config, path, a.shape[0]), base="" if base is None else base.name,
        base_shape=() if base is None else base.shape, transposed=transposed, problem=problem,
        suffix=f" of {label[1:]}" if label not in ("", ".default") else "",
    )  # fmt: skip
    known: dict[str, tuple[Entry, ...]] = {a.name: (entries[0],), b.name: (entries[1],)}
    members = [t for t in (base, a, b) if t is not None and book.get(t.name) is not None]
    if base is not None and not embedding:
        known[base.name] = (linear(base.name, base.shape, base.dtype, transposed=transposed),)
    return book.layer(path, known, entries[2:], members)


def _base(book: Book, path: str, config: Config | None, ending: str) -> tuple[Tensor | None, str]:
    """The weight that is adapted, if it is here, and why the sum with it is not to be measured."""
    base = book.tensors.get(f"{path}.base_layer.weight")
    if base is not None and not (len(base.shape) == 2 and is_weight(base)):
        return None, _CODES
    variant = next((key for key in _VARIANTS if (config or {}).get(key)), "")
    if variant:
        return base, f"adapter_config.json has {variant}: the adapter may not add s·B·A; merge it to measure it"
    magnitude = any(f"{path}.lora_magnitude_vector{end}" in book.tensors for end in ("", ".weight", ending))
    return base, _BY_MAGNITUDE if magnitude or flag(config, "use_dora") else ""


def scale(config: Config | None, path: str, rank: int) -> float | None:
    """s for a module, from α (its own, where `alpha_pattern` names it) and the rank; None where α is not known."""
    if word(config, "peft_type") not in ("", "LORA"):
        return None
    alpha = number(config, "lora_alpha")
    for key in section(config, "alpha_pattern") or {}:  # the first that matches counts
        if not re.fullmatch(r"[\w.]+", key):
            return None  # a regular expression, which is not run
        if path == key or path.endswith(f".{key}"):
            alpha = number(section(config, "alpha_pattern"), key)
            break
    return None if alpha is None else scale_of(alpha, rank, rank_stabilized=flag(config, "use_rslora"))
