"""Rules of embeddings whose classes override the look-up: positions that are shifted first, rows that are scaled after.

Both are classes of `transformers`, whose families share them under their own names. A shifted look-up reads the same
table: its row is that of the table. A scaled one reads s·E. Its table is measured as it is stored, since the output
head it is often tied to has no s, and the row says so; what one token can reach is not said, being s times as far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from opnorm.layers.embedding import embedding
from opnorm.layers.modules import Rule, Site
from opnorm.layers.plan import Entry


def looked_up(site: Site) -> tuple[Entry, ...]:
    """The table as a matrix."""
    weight = site.held["weight"]
    most = getattr(site.module, "max_norm", None)
    reason = f"max_norm = {most}: longer rows are shortened when they are looked up" if most is not None else ""
    return (embedding(weight.name, weight.shape, weight.dtype, reason=reason),)


def _scaled(site: Site) -> tuple[Entry, ...]:
    scale = getattr(site.module, "scalar_embed_scale", getattr(site.module, "embed_scale", None))
    if type(scale) in (int, float) and scale == 1:
        return looked_up(site)
    words = f" by {scale:.6g}" if type(scale) in (int, float) else ""
    reason = f"rows are multiplied{words} when they are looked up: the table is measured as it is stored"
    return tuple(replace(entry, reason=reason, also=()) for entry in looked_up(site))


def _of(rule: Callable[[Site], tuple[Entry, ...]], ending: str, families: dict[str, str]) -> dict[str, Rule]:
    return {f"transformers.models.{f}.modeling_{f}.{start}{ending}": rule for f, start in families.items()}


_LEARNED = {
    "bart": "Bart", "biogpt": "BioGpt", "bigbird_pegasus": "BigBirdPegasus", "blenderbot": "Blenderbot",
    "blenderbot_small": "BlenderbotSmall", "led": "LED", "mbart": "MBart", "mvp": "Mvp", "opt": "OPT",
    "plbart": "PLBart", "trocr": "TrOCR",
}  # fmt: skip
_SINUSOIDAL = {"marian": "Marian", "pegasus": "Pegasus", "roformer": "RoFormer"}
_SCALED = {
    "bart": "Bart", "biogpt": "BioGpt", "bigbird_pegasus": "BigBirdPegasus", "blenderbot": "Blenderbot",
    "m2m_100": "M2M100", "mbart": "MBart", "nllb_moe": "NllbMoe", "pegasus_x": "PegasusX", "plbart": "PLBart",
    "trocr": "TrOCR", "xglm": "XGLM", "gemma": "GemmaText", "gemma2": "Gemma2Text", "gemma3": "Gemma3Text",
    "gemma3n": "Gemma3nText",
}  # fmt: skip

EMBEDDING_RULES: dict[str, Rule] = {
    "torch.nn.modules.sparse.Embedding": looked_up,
    "torch.nn.modules.sparse.EmbeddingBag": looked_up,
    **_of(looked_up, "LearnedPositionalEmbedding", _LEARNED),
    **_of(looked_up, "SinusoidalPositionalEmbedding", _SINUSOIDAL),
    **_of(looked_up, "PositionalEmbedding", {"whisper": "Whisper"}),
    **_of(_scaled, "ScaledWordEmbedding", _SCALED),
}
"""Qualified class name → rule."""
