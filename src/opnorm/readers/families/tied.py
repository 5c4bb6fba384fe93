"""Language models whose output head is their embedding: one weight, stored once, with a word about its second use."""

from __future__ import annotations

from opnorm.readers.config import flag, model_type, section
from opnorm.readers.families.book import Book

_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_HEADS = ("lm_head.weight", "embed_out.weight", "cls.predictions.decoder.weight")
_STORED = "config.json says that it is tied to {}, and the checkpoint stores it all the same"
_SCALED = "the model multiplies what it looks up by √hidden_size: the table is measured as it is stored"
_NOTE = "also the output head: config.json says they are tied, and the checkpoint stores them once"


def note_tied(book: Book) -> None:
    """Note an embedding that is the output head too, where the configuration says so, and one that is scaled."""
    config = book.config or {}
    causal = any(str(a).endswith(("ForCausalLM", "LMHeadModel", "ForMaskedLM")) for a in _list(config, "architectures"))
    tied = flag(config, "tie_word_embeddings") or flag(section(config, "text_config"), "tie_word_embeddings")
    embeddings = [name for name in book.tensors if name.endswith(_EMBEDDINGS)]
    heads = [name for name in book.tensors if name.endswith(_HEADS)]
    if causal and tied and len(embeddings) == 1:
        book.notes |= {name: _STORED.format(embeddings[0]) for name in heads} or {embeddings[0]: _NOTE}
    if model_type(config).startswith("gemma"):
        for name in embeddings:
            book.notes[name] = "; ".join(p for p in (book.notes.get(name, ""), _SCALED) if p)


def _list(config: object, key: str) -> list[object]:
    value = config.get(key) if isinstance(config, dict) else None
    return value if isinstance(value, list) else []
