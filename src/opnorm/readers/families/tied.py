"""Language models whose output head is their embedding: one weight, stored once, with a word about its second use."""

from __future__ import annotations

from opnorm.readers.config import flag, section
from opnorm.readers.families.book import Book

_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_HEADS = ("lm_head.weight", "embed_out.weight", "cls.predictions.decoder.weight")
_NOTE = "also the output head: config.json says they are tied, and the checkpoint stores them once"


def note_tied(book: Book) -> None:
    """Note the embedding that is the output head too, where the configuration says so and no head is stored."""
    config = book.config or {}
    causal = any(str(a).endswith(("ForCausalLM", "LMHeadModel", "ForMaskedLM")) for a in _list(config, "architectures"))
    tied = flag(config, "tie_word_embeddings") or flag(section(config, "text_config"), "tie_word_embeddings")
    embeddings = [name for name in book.tensors if name.endswith(_EMBEDDINGS)]
    if causal and tied and len(embeddings) == 1 and not any(name.endswith(_HEADS) for name in book.tensors):
        book.notes[embeddings[0]] = _NOTE


def _list(config: object, key: str) -> list[object]:
    value = config.get(key) if isinstance(config, dict) else None
    return value if isinstance(value, list) else []
