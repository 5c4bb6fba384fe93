"""Names of the rows of an embedding: the vocabulary of a Hugging Face `tokenizer.json`, read as data.

Only the vocabulary (`model.vocab`, of BPE, WordPiece and WordLevel a mapping, of Unigram a list of pairs) and the
added tokens are used; nothing is tokenized, and no library is needed. Byte-level vocabularies (GPT-2's) spell bytes
by letters: they are turned back and decoded, bytes that are no whole character shown as \\x… . A leading space, or
SentencePiece's ▁, is shown as ␣.

Tables often have more rows than there are tokens, to a round number: up to `padding_allowed` further rows are taken
for padding, which every direction over them says. Fewer rows than tokens, or many more, is another model's tokenizer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opnorm.errors import CheckpointError, OpnormError
from opnorm.readers.checkpoint import open_regular, read_exactly
from opnorm.spectrum.directions.terms import clipped

MAX_BYTES = 100_000_000
"""The largest published ones have 35 MB, most of it merges."""

MAX_ITEMS = 4_000_000
MAX_TOKENS = 1 << 22
_REMEDY = "Give the tokenizer.json of the model, as saved by the tokenizers library."

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """source: the file. words: the token of each number, '' where it has none. byte_level: spelled by bytes."""

    source: str
    words: tuple[str, ...]
    byte_level: bool = False

    def __len__(self) -> int:
        return len(self.words)

    def label(self, index: int) -> str:
        """The token in readable form; `#17` where the number has none."""
        word = self.words[index] if index < len(self.words) else ""
        if not word:
            return f"#{index}"
        return clipped((_bytes_decoded(word) if self.byte_level else word.replace("▁", "␣")).replace(" ", "␣"))

    def fits(self, rows: int) -> bool:
        """Whether a table of so many rows can be this vocabulary's, padding included."""
        return len(self.words) <= rows <= len(self.words) + padding_allowed(rows)

    def padding(self, rows: int) -> str:
        """What to say of rows without a token; empty where there are none."""
        count = len(self.words)
        return f"rows {count} to {rows - 1} are taken for padding: the tokenizer ends before" if rows > count else ""


def padding_allowed(rows: int) -> int:
    """How many rows of a table may be padding: a sixteenth, at least 8, at most 1024."""
    return min(1024, max(8, rows // 16))


def read_tokens(path: str | Path) -> Tokens:
    """The vocabulary of a `tokenizer.json`, or of the one in a folder. `CheckpointError` for what is none."""
    path = Path(path)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        data = _parsed(_text(path))
        words = _words(data)
    except OpnormError:
        raise
    except ValueError as error:
        raise CheckpointError(path, f"{error}", _REMEDY) from None
    return Tokens(str(path), words, any(_byte_level(data.get(part)) for part in ("pre_tokenizer", "decoder")))


def _text(path: Path) -> str:
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise ValueError(f"has {size} bytes; a tokenizer of {MAX_BYTES} is allowed")
        raw = read_exactly(descriptor, str(path), 0, size).tobytes()
    finally:
        os.close(descriptor)
    if max(raw.count(b","), raw.count(b"[") + raw.count(b"{")) > MAX_ITEMS:
        raise ValueError(f"lists more than {MAX_ITEMS} items")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def _parsed(text: str) -> Json:
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused, parse_int=_whole)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON ({error.msg} at character {error.pos})") from None
    if not isinstance(data, dict):
        raise ValueError("is not a JSON object")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("gives a key twice in one object")
    return found


def _refused(text: str) -> Any:
    raise ValueError(f"holds the number {text[:20]}")


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"holds a number of {len(text)} digits, where 20 are allowed")
    return int(text)


def _words(data: Json) -> tuple[str, ...]:
    model = data.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocab, dict | list) or not vocab:
        raise ValueError("has no vocabulary: a mapping or a list under model.vocab")
    known: dict[int, str] = {}
    for word, number in (*_listed(vocab), *_added(data.get("added_tokens"))):
        if not isinstance(word, str) or type(number) is not int or not 0 <= number < MAX_TOKENS:
            raise ValueError(f"gives the token {str(word)[:40]!r} the number {str(number)[:40]!r}")
        known[number] = word
    return tuple(known.get(number, "") for number in range(max(known) + 1))


def _listed(vocab: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(vocab, dict):
        yield from vocab.items()
        return
    for number, pair in enumerate(vocab):
        yield (pair[0] if isinstance(pair, list) and pair else pair), number


def _added(tokens: Any) -> Iterator[tuple[Any, Any]]:
    for token in tokens if isinstance(tokens, list) else ():
        if not isinstance(token, dict):
            raise ValueError("lists an added token that is no object")
        yield token.get("content"), token.get("id")


def _byte_level(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    inside = [p for key in ("pretokenizers", "decoders") if isinstance(part.get(key), list) for p in part[key]]
    return part.get("type") == "ByteLevel" or any(isinstance(p, dict) and p.get("type") == "ByteLevel" for p in inside)


def _alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others for 256 and on, in order."""
    printable = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(b): b for b in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _alphabet()


def _bytes_decoded(word: str) -> str:
    """The text that the letters spell; the word itself where it is not so spelled (an added token)."""
    if any(letter not in _BYTES for letter in word):
        return word
    return bytes(_BYTES[letter] for letter in word).decode("utf-8", "backslashreplace")
