"""Transformer blocks whose queries, keys, values and output are four matrices: BERT, DistilBERT, Llama, Phi, ViT.

Without a configuration the number of heads is not known, and there are no circuits. Normalizations are paired with
the matrices that read them where the names leave no doubt, or where the configuration names the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opnorm.layers.attention import Projection, circuits
from opnorm.layers.plan import Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import Config, model_type, number, section, whole
from opnorm.readers.families.book import Book, Fold

MOST_HEADS = 1024

_NORMALIZED = ("q_norm", "k_norm", "q_layernorm", "k_layernorm")
_OTHERWISE = (
    *("crossattention.output.dense.weight", "bottleneck.input.dense.weight"),
    *("attention.LayerNorm.weight", "intermediate.LayerNorm.weight"),
)
"""Tensors of blocks that share a family's names and are wired differently: decoders of BERT, MobileBERT, and those
that normalize before attention (RoBERTa-PreLayerNorm, ESM)."""

_EMBEDDED = frozenset(("word_embeddings", "position_embeddings", "token_type_embeddings", "position_ids", "LayerNorm"))
_BETWEEN = ("LayerNorm.weight", "embeddings_project.weight", "encoder.embedding_hidden_mapping_in.weight")
"""Weights beside the embeddings that stand between them and the first block, where a model has them."""

_UNSCALED_ROTARY = frozenset(("", "default", "linear", "dynamic", "llama3", "proportional"))
"""Kinds of rotary embeddings that turn queries and keys and leave their lengths alone; YaRN and LongRoPE do not."""


@dataclass(frozen=True, slots=True)
class Split:
    """A family with four projections, named relative to a block.

    types: model types. attention: the module that holds all four. norms: (scale, the matrices that read it).
    previous: the scale that the projections read in the block before, and in the embeddings. sure: the names alone
    leave no doubt about the norms. centered: LayerNorm, else RMSNorm; plus_one: that multiplies by 1 + its scale.
    """

    types: frozenset[str]
    attention: str
    q: str
    k: str
    v: str
    o: str
    norms: tuple[tuple[str, tuple[str, ...]], ...]
    centered: bool
    sure: bool
    rotary: bool = False
    plus_one: bool = False
    previous: tuple[str, str] = ("", "")


BERT = Split(
    frozenset(("bert", "roberta", "xlm-roberta", "camembert", "electra", "data2vec-text", "layoutlm")),
    "attention",
    *("self.query", "self.key", "self.value", "output.dense"),
    norms=(("attention.output.LayerNorm", ("intermediate.dense",)),),
    centered=True,
    sure=True,
    previous=("output.LayerNorm", "embeddings.LayerNorm"),
)
DISTILBERT = Split(
    frozenset(("distilbert",)),
    "attention",
    *("q_lin", "k_lin", "v_lin", "out_lin"),
    norms=(("sa_layer_norm", ("ffn.lin1",)),),
    centered=True,
    sure=True,
    previous=("output_layer_norm", "embeddings.LayerNorm"),
)
VIT = Split(
    frozenset(("vit", "deit", "vit_mae", "vit_msn", "ijepa", "yolos")),
    "attention",
    *("attention.query", "attention.key", "attention.value", "output.dense"),
    norms=(
        ("layernorm_before", ("attention.attention.query", "attention.attention.key", "attention.attention.value")),
        ("layernorm_after", ("intermediate.dense",)),
    ),
    centered=True,
    sure=True,
)
VIT_RENAMED = replace(
    VIT,
    q="q_proj",
    k="k_proj",
    v="v_proj",
    o="o_proj",
    norms=(
        ("layernorm_before", ("attention.q_proj", "attention.k_proj", "attention.v_proj")),
        ("layernorm_after", ("mlp.fc1",)),
    ),
)
LLAMA = Split(
    frozenset(("llama", "mistral", "ministral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "mixtral", "smollm3")),
    "self_attn",
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    norms=(
        ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
        ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    ),
    centered=False,
    sure=False,
    rotary=True,
)
GEMMA = replace(LLAMA, types=frozenset(("gemma",)), plus_one=True)
PHI = Split(
    frozenset(("phi",)),
    "self_attn",
    *("q_proj", "k_proj", "v_proj", "dense"),
    norms=(("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc1")),),
    centered=True,
    sure=False,
    rotary=True,
)
FAMILIES = (BERT, DISTILBERT, VIT, VIT_RENAMED, LLAMA, GEMMA, PHI)


def split_attention(book: Book) -> list[Layer]:
    """The attention modules of every family in `FAMILIES`, and what their blocks fold."""
    return [layer for family in FAMILIES for layer in _of_family(book, family)]


def _of_family(book: Book, family: Split) -> list[Layer]:
    kind, layers = model_type(book.config), []
    known = kind in family.types
    if kind and not known:
        return []
    for block in list(book.paths(f".{family.attention}.{family.q}.weight")):
        path = f"{block}.{family.attention}"
        names = [f"{path}.{part}.weight" for part in (family.q, family.k, family.v, family.o)]
        tensors = book.matrices(*names)
        if not tensors:
            continue
        wired = not any(f"{block}.{name}" in book.tensors for name in _OTHERWISE)
        if wired and (known or family.sure):
            _note_folds(book, block, family, known=known)
        derived, problem = head_circuits(book, path, tensors, rotary=family.rotary) if known else ((), "")
        if problem:
            book.notes[names[0]] = problem
        layers.append(book.layer(path, {}, derived))
    return layers


def head_circuits(book: Book, path: str, tensors: Sequence[Tensor], *, rotary: bool) -> tuple[tuple[Entry, ...], str]:
    """The circuits of four separate projections; or none, and what in the configuration contradicts the shapes."""
    q, k, v, o = tensors
    config = book.config
    heads, kv_heads, size = head_counts(config, q.shape[0])
    if not heads:
        return (), "config.json does not say how many heads share the rows: no circuits"
    wanted = (heads * size, kv_heads * size, kv_heads * size, heads * size)
    if wanted != (q.shape[0], k.shape[0], v.shape[0], o.shape[1]) or heads % kv_heads:
        return (), misfit(heads, kv_heads, size, (q.shape[0], k.shape[0], v.shape[0]))
    if heads > MOST_HEADS or not book.afford(2 * heads):
        return (), f"config.json gives {heads} heads, more than are measured one by one: no circuits"
    normalized = any(book.get(f"{path}.{n}.weight") is not None for n in _NORMALIZED)
    note = "queries and keys are normalized after their projections: there is no score circuit" if normalized else ""
    if rotary and not normalized and rotary_scales(config):
        normalized, note = True, SCALED_SCORES
    pq, pk, pv, po = (Projection(t.name) for t in tensors)
    module = q.name.rsplit(".", 2)[0]
    rows = circuits(
        module, None if normalized else pq, None if normalized else pk, pv, po,
        heads=heads, kv_heads=kv_heads, head_size=size, rotary=rotary, model_size=q.shape[1], dtype=q.dtype, note=note,
    )  # fmt: skip
    return rows, ""


SCALED_SCORES = "the rotary embeddings of config.json may scale the scores too: no score circuit is measured"


def rotary_scales(config: Config | None) -> bool:
    """Whether the rotary embeddings of a configuration are of a kind that multiplies queries and keys as well."""
    given = [part for key in ("rope_scaling", "rope_parameters") if (part := section(config, key)) is not None]
    given += [inner for part in given for inner in part.values() if isinstance(inner, dict)]  # one a kind of layer
    kinds = {part.get(key, "") for part in given for key in ("rope_type", "type")}
    return any(not isinstance(kind, str) or kind not in _UNSCALED_ROTARY for kind in kinds)


def head_counts(config: Config | None, rows: int) -> tuple[int, int, int]:
    """Heads, key-value heads and head size, as far as a configuration says; (0, 0, 0) where it does not."""
    heads = whole(config, "num_attention_heads", "n_heads", "n_head")
    if not heads:
        return 0, 0, 0
    kv_heads = whole(config, "num_key_value_heads") or heads
    return heads, kv_heads, whole(config, "head_dim") or max(rows // heads, 1)


def misfit(heads: int, kv_heads: int, size: int, rows: Sequence[int]) -> str:
    """Why a configuration is not believed."""
    return (
        f"config.json gives {heads} heads of size {size} and {kv_heads} for keys and values, which matrices of "
        f"{', '.join(map(str, rows))} rows contradict: measured as plain matrices, no circuits"
    )


def _note_folds(book: Book, block: str, family: Split, *, known: bool) -> None:
    pairs = [(f"{block}.{scale}", [f"{block}.{r}.weight" for r in readers]) for scale, readers in family.norms]
    if family.previous[0]:
        readers = [f"{block}.{family.attention}.{part}.weight" for part in (family.q, family.k, family.v)]
        before = _before(block, family.previous)
        if not before.endswith(family.previous[1]) or _embeds_plainly(book, block, before, known=known):
            pairs.append((before, readers))
    for norm, readers in pairs:
        note_fold(book, norm, readers, Fold("", family.centered, plus_one=family.plus_one))


def note_fold(book: Book, norm: str, readers: Sequence[str], fold: Fold) -> None:
    """Remember that `readers` read `norm`, where its scale is as long as their inputs, and of the kind it should be."""
    scale = book.tensors.get(f"{norm}.weight")
    if scale is None or len(scale.shape) != 1 or (f"{norm}.bias" in book.tensors) != fold.centered:
        return
    eps = number(book.config, "layer_norm_eps", "rms_norm_eps", "layer_norm_epsilon")
    if eps is not None and not fold.plus_one:
        book.scales[scale.name] = (eps, not fold.centered)
    for name in readers:
        tensor = book.tensors.get(name)
        if (
            tensor is not None
            and len(tensor.shape) == 2
            and tensor.shape[0 if fold.transposed else 1 :][:1] == scale.shape
        ):
            book.folds[name] = replace(fold, scale=scale.name)


def _embeds_plainly(book: Book, block: str, norm: str, *, known: bool) -> bool:
    """Whether nothing stands between the norm of the embeddings and the first block.

    known: the configuration names the family; else the names must be those of plain embeddings and one encoder.
    """
    inside = norm.rpartition(".")[0]
    root = inside.rpartition(".")[0]
    if any(f"{root}.{name}".lstrip(".") in book.tensors for name in _BETWEEN):
        return False
    parts = {t.name[len(inside) + 1 :].partition(".")[0] for t in book.below(inside)}
    return known or (parts <= _EMBEDDED and block.endswith(("encoder.layer.0", "transformer.layer.0")))


def _before(block: str, previous: tuple[str, str]) -> str:
    """The normalization whose output block N reads: that of block N − 1, or of the embeddings."""
    stem, _, number = block.rpartition(".")
    if number.isascii() and number.isdigit() and len(number) < 6 and int(number) > 0:
        return f"{stem}.{int(number) - 1}.{previous[0]}"
    return f"{stem.rpartition('.')[0].rpartition('.')[0]}.{previous[1]}".lstrip(".")
