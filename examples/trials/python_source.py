"""Language: the next character of Python's own standard library, by a small causal transformer.

The text is the top-level .py files of the interpreter that runs the trial: it differs between versions of Python, so
`digest()` says which text it was. Files, not pieces of them, are dealt to the three parts, anew for each seed: what is
tested was never read in training. 1,000 pieces of 48 characters to train on, 300 to choose by, 500 to test.
"""

import hashlib
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # anything else is read as '?'
PLACES, WIDTH = 48, 48
task, metric, epochs, batch = "multiclass", "neg_bits_per_char", 5, 16


@cache
def texts():
    """Each file as indices into the alphabet, by name; the shortest are left out."""
    places = {letter: index for index, letter in enumerate(ALPHABET)}
    found = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    read = [path.read_text(encoding="utf-8", errors="replace") for path in found if path.stat().st_size > 4096]
    return [np.array([places.get(letter, places["?"]) for letter in text]) for text in read]


def digest():
    """SHA-256 of all the text."""
    return hashlib.sha256(b"".join(text.astype(np.uint8).tobytes() for text in texts())).hexdigest()


def pieces(chosen, count, generator):
    """Places drawn evenly over the chosen files' characters: inputs, and the same one character on."""
    text = np.concatenate([texts()[index] for index in chosen])
    starts = generator.choice(len(text) // PLACES - 1, size=count, replace=False) * PLACES
    rows = starts[:, None] + np.arange(PLACES)
    return text[rows], text[rows + 1]


def load_data(seed):
    """Three fifths of the files to train on, a fifth to choose by, a fifth to test."""
    generator = np.random.default_rng(seed)
    order, fifth = generator.permutation(len(texts())), len(texts()) // 5
    parts = np.split(order, [3 * fifth, 4 * fifth])
    return tuple(pieces(part, count, generator) for part, count in zip(parts, (1000, 300, 500), strict=True))


class Block(nn.Module):
    """Causal attention of two heads and a feed-forward layer, normalized before each."""

    def __init__(self):
        super().__init__()
        self.before_attention, self.before_feed = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        """(batch, places, width) to the same."""
        y = self.before_attention(x)
        heads = (layer(y).unflatten(-1, (2, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.before_feed(x))


class Characters(nn.Module):
    """Embeddings of letters and places, two blocks, logits of the next letter at each place."""

    def __init__(self):
        super().__init__()
        self.letters, self.places = nn.Embedding(len(ALPHABET), WIDTH), nn.Embedding(PLACES, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.last, self.logits = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(ALPHABET))

    def forward(self, letters):
        """(batch, places) to (batch, places, letters)."""
        x = self.letters(letters) + self.places.weight[: letters.shape[1]]
        return self.logits(self.last(self.blocks(x)))


def build_model(seed):
    """68,000 weights."""
    torch.manual_seed(seed)
    return Characters()
