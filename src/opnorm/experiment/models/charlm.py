"""A small causal transformer over characters: logits of the next one at each place.

Pre-norm blocks (Xiong et al. 2020) with separate query, key, value and output layers, so that each is one matrix.
Attention is written out: PyTorch's fused kernels have no second derivative.
"""

from __future__ import annotations

import torch
from torch import nn

from opnorm.experiment.models.model import Inputs, Model, Shape

WIDTH = 64
HEADS = 4


class Attention(nn.Module):
    """Each place looks at itself and those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, places, width) → the same shape."""
        q, k, v = (_heads(layer(x)) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        seen = scores.masked_fill(ahead, -torch.inf).softmax(-1) @ v
        return self.output(seen.transpose(1, 2).flatten(2))


def _heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then two layers at each place, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.between = nn.LayerNorm(WIDTH)
        self.hidden = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, places, width) → the same shape."""
        x = x + self.attention(self.before(x))
        return x + self.hidden(self.between(x))


class CharacterModel(nn.Module):
    """(batch, places) of int64 → (batch, places, characters)."""

    def __init__(self, places: int, characters: int, blocks: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, WIDTH)
        self.places = nn.Embedding(places, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.last = nn.LayerNorm(WIDTH)
        self.logits = nn.Linear(WIDTH, characters)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the next character at each place."""
        x = self.characters(tokens) + self.places.weight[: tokens.shape[1]]
        return self.logits(self.last(self.blocks(x)))


def _build(shape: Shape, depth: int) -> nn.Module:
    return CharacterModel(shape.inputs[0], shape.outputs, depth)


CHARLM = Model(
    "charlm", f"a causal transformer of width {WIDTH} with {HEADS} heads", frozenset({Inputs.TOKENS}), depth=2,
    build=_build,
)  # fmt: skip
