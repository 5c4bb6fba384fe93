"""Attention whose queries, keys and values share a tensor: GPT-2, GPT-NeoX, Phi-3, torch's own, timm's ViT.

Stacked parts are cut where they meet. GPT-NeoX alternates them head by head, which only a configuration tells from
the other orders. Where the order is not known, the stacked matrix is measured as one, and its row says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opnorm.layers.attention import Projection, circuits
from opnorm.layers.linear import dense_words, linear, slices
from opnorm.layers.plan import Arrays, Build, Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import Config, flag, model_type, whole
from opnorm.readers.families.attention import MOST_HEADS, SCALED_SCORES, head_counts, misfit, note_fold, rotary_scales
from opnorm.readers.families.book import Book, Fold

_PARTS = ("q", "k", "v")
_UNKNOWN = "fused, and its parts are not known: measured as the stacked matrix"
_BY_NAME = "cut as [q; k; v], the order of {}, whose names these are"
_STACKED = frozenset(("", "gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "qwen"))
"""Families whose `c_attn` is [q; k; v]: others share the name and alternate the parts head by head (GPTBigCode)."""


def fused_attention(book: Book) -> list[Layer]:
    """The fused attention modules that names, shapes and configuration decide."""
    before = _norms_before(book)
    layers = [layer for path in list(book.paths(".c_attn.weight")) for layer in _gpt2(book, path, before)]
    layers += [_stacked(book, path, "in_proj_weight") for path in list(book.paths(".in_proj_weight"))]
    layers += [_stacked(book, path, "qkv.weight") for path in list(book.paths(".qkv.weight"))]
    layers += [_neox(book, path) for path in list(book.paths(".query_key_value.weight"))]
    layers += [_phi3(book, path) for path in list(book.paths(".qkv_proj.weight"))]
    layers += [_gate_up(book, path) for path in list(book.paths(".gate_up_proj.weight"))]
    return [layer for layer in layers if layer is not None]


def _gpt2(book: Book, path: str, norms_before: bool) -> list[Layer | None]:
    """`c_attn`, transposed in GPT-2's own files, upright in reimplementations: its shape tells."""
    found = book.matrices(f"{path}.c_attn.weight", f"{path}.c_proj.weight")
    if not found:
        return []
    fused, output = found
    width = output.shape[0]
    if output.shape != (width, width) or fused.shape not in ((width, 3 * width), (3 * width, width)):
        return []
    transposed, kind = fused.shape[1] == 3 * width, model_type(book.config)
    if kind not in _STACKED:
        book.notes[fused.name] = _UNKNOWN
        return []
    if not kind and not transposed:
        book.notes[fused.name] = _BY_NAME.format("nanoGPT")
    block = path.rpartition(".")[0]
    if norms_before:
        for norm, reader in ((f"{block}.ln_1", fused.name), (f"{block}.ln_2", f"{block}.mlp.c_fc.weight")):
            note_fold(book, norm, [reader], Fold("", centered=True, transposed=transposed))
    known: dict[str, Sequence[Entry]] = {
        fused.name: slices(fused.name, fused.shape, fused.dtype, _thirds(width), axis=int(transposed)),
        output.name: (linear(output.name, output.shape, output.dtype, transposed=transposed),),
    }
    derived = _gpt2_circuits(book, path, fused, output, transposed=transposed)
    beside = [_transposed(book, f"{block}.mlp.{name}") for name in ("c_fc", "c_proj")] if transposed else []
    return [book.layer(path, _explained(book, known, fused), derived), *beside]


def _transposed(book: Book, path: str) -> Layer | None:
    """The feed-forward matrices of a block whose attention is stored transposed are so too."""
    found = book.matrices(f"{path}.weight")
    if not found:
        return None
    row = linear(found[0].name, found[0].shape, found[0].dtype, transposed=True)
    return book.layer(path, {found[0].name: (row,)}, ())


def _norms_before(book: Book) -> bool:
    """Whether norms come before what reads them: the first GPT has the same names, and norms after."""
    kind = model_type(book.config)
    return kind == "gpt2" or (not kind and any(name.endswith("wte.weight") for name in book.tensors))


def _gpt2_circuits(book: Book, path: str, fused: Tensor, output: Tensor, *, transposed: bool) -> tuple[Entry, ...]:
    config, width = book.config, output.shape[0]
    if model_type(config) not in ("gpt2", ""):
        return ()
    heads = head_counts(config, width)[0]
    if not heads or width % heads or not _affordable(book, heads):
        if heads:
            book.notes[fused.name] = misfit(heads, heads, width // heads, (width,))
        return ()
    scaled, by_layer = flag(config, "scale_attn_weights", default=True), flag(config, "scale_attn_by_inverse_layer_idx")
    q, k, v = (Projection(fused.name, start=i * width, transposed=transposed) for i in range(3))
    note = "scores are divided by the number of the layer too: no score circuit is measured" if by_layer else ""
    return circuits(
        path, None if by_layer else q, None if by_layer else k, v, Projection(output.name, transposed=transposed),
        heads=heads, kv_heads=heads, head_size=width // heads, root=0 if scaled else 1, model_size=width,
        dtype=fused.dtype, note=note,
    )  # fmt: skip


def _stacked(book: Book, path: str, ending: str) -> Layer | None:
    """[q; k; v] of equal sizes on the output side: torch's MultiheadAttention, timm's vision transformers."""
    found = book.matrices(f"{path}.{ending}")
    if not found or found[0].shape[0] % 3:
        return None
    fused = found[0]
    if ending == "qkv.weight" and (model_type(book.config) or fused.shape[0] != 3 * fused.shape[1]):
        book.notes[fused.name] = _UNKNOWN
        return None
    reason = _BY_NAME.format("timm's vision transformers") if ending == "qkv.weight" else ""
    parts = slices(fused.name, fused.shape, fused.dtype, _thirds(fused.shape[0] // 3))
    return book.layer(path, {fused.name: (replace(parts[0], reason=reason), *parts[1:])})


def _neox(book: Book, path: str) -> Layer | None:
    found = book.matrices(f"{path}.query_key_value.weight", f"{path}.dense.weight")
    if not found:
        return None
    fused, output = found
    width = output.shape[0]
    heads = whole(book.config, "num_attention_heads") if model_type(book.config) == "gpt_neox" else 0
    square = output.shape == (width, width) and fused.shape == (3 * width, width)
    if not heads or width % heads or not square or not _affordable(book, heads):
        book.notes[fused.name] = _UNKNOWN
        return None
    size, block = width // heads, path.rpartition(".")[0]
    for norm, reader in (
        ("input_layernorm", fused.name),
        ("post_attention_layernorm", f"{block}.mlp.dense_h_to_4h.weight"),
    ):
        note_fold(book, f"{block}.{norm}", [reader], Fold("", centered=True))
    parts = tuple(_alternating(fused, part, i, heads, size) for i, part in enumerate(_PARTS))
    q, k, v = (Projection(fused.name, start=i * size, step=3 * size) for i in range(3))
    scaled = rotary_scales(book.config)
    derived = circuits(
        path, None if scaled else q, None if scaled else k, v, Projection(output.name),
        heads=heads, kv_heads=heads, head_size=size, rotary=True, model_size=width, dtype=fused.dtype,
        note=SCALED_SCORES if scaled else "",
    )  # fmt: skip
    return book.layer(path, {fused.name: parts}, derived)


def _alternating(fused: Tensor, part: str, index: int, heads: int, size: int) -> Entry:
    def build(arrays: Arrays) -> object:
        tensor = arrays[fused.name]
        return tensor.reshape(heads, 3, size, tensor.shape[1])[:, index].reshape(heads * size, tensor.shape[1])

    shape = (heads * size, fused.shape[1])
    builder: Build = build
    return Entry(
        f"{fused.name}[{part}]", (fused.name,), "linear", dense_words(shape), shape, fused.dtype, build=builder
    )


def _phi3(book: Book, path: str) -> Layer | None:
    found = book.matrices(f"{path}.qkv_proj.weight", f"{path}.o_proj.weight")
    if not found:
        return None
    fused, output = found
    heads, kv_heads, size = _phi3_heads(book.config, output.shape[1])
    if not heads or heads % kv_heads or not _affordable(book, heads):
        book.notes[fused.name] = _UNKNOWN
        return None
    sizes = (heads * size, kv_heads * size, kv_heads * size)
    if (sum(sizes), sizes[0]) != (fused.shape[0], output.shape[1]):
        book.notes[fused.name] = misfit(heads, kv_heads, size, (fused.shape[0],))
        return None
    block = path.rpartition(".")[0]
    for norm, reader in (
        ("input_layernorm", fused.name),
        ("post_attention_layernorm", f"{block}.mlp.gate_up_proj.weight"),
    ):
        note_fold(book, f"{block}.{norm}", [reader], Fold("", centered=False))
    parts = slices(fused.name, fused.shape, fused.dtype, list(zip(_PARTS, sizes, strict=True)))
    q, k, v = (Projection(fused.name, start=start) for start in (0, sizes[0], sizes[0] + sizes[1]))
    scaled = rotary_scales(book.config)
    derived = circuits(
        path, None if scaled else q, None if scaled else k, v, Projection(output.name),
        heads=heads, kv_heads=kv_heads, head_size=size, rotary=True, model_size=fused.shape[1], dtype=fused.dtype,
        note=SCALED_SCORES if scaled else "",
    )  # fmt: skip
    return book.layer(path, {fused.name: parts}, derived)


def _phi3_heads(config: Config | None, rows: int) -> tuple[int, int, int]:
    return head_counts(config, rows) if model_type(config) == "phi3" else (0, 0, 0)


def _gate_up(book: Book, path: str) -> Layer | None:
    """[gate; up] of a fused feed-forward layer."""
    found = book.matrices(f"{path}.gate_up_proj.weight", f"{path}.down_proj.weight")
    if not found or found[0].shape != (2 * found[1].shape[1], found[1].shape[0]):
        return None
    fused, side = found[0], found[1].shape[1]
    known = {fused.name: slices(fused.name, fused.shape, fused.dtype, [("gate", side), ("up", side)])}
    return book.layer(path, known, (), [fused])


def _affordable(book: Book, heads: int) -> bool:
    return heads <= MOST_HEADS and book.afford(2 * heads)


def _thirds(size: int) -> list[tuple[str, int]]:
    return [(part, size) for part in _PARTS]


def _explained(book: Book, known: dict[str, Sequence[Entry]], tensor: Tensor) -> dict[str, Sequence[Entry]]:
    """The entries with what a rule noted of a tensor in the reason of its first row."""
    note = book.notes.get(tensor.name, "")
    first, *others = known[tensor.name]
    return {**known, tensor.name: (replace(first, reason=note), *others)} if note else known
