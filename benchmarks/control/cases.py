"""What is trained: the MLP and the small transformer of the figures, each with its data, made anew from a seed.

MLP: 64-1024×4-10, batch 128, 1,024 of scikit-learn's digits with random labels. GPT: width 256, 4 layers, 64 tokens,
batch 32, separate q, k and v, characters of Python's own library; AdamW 1e-3.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A model, its optimizer, its batches by step and seed, and the layers under control."""

    name: str
    model: Callable[[int], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    batch: Callable[[int, int], Batch]

    def layers(self, model: nn.Module) -> list[nn.Linear]:
        """Every linear layer but those that share an embedding."""
        return [m for m in model.modules() if isinstance(m, nn.Linear)]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(batch[0])
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[1].reshape(-1))

    def norms(self, model: nn.Module) -> list[float]:
        """σ₁ of every layer, from the eigenvalues of its float32 Gram matrix (relative error about 1e-6)."""
        return [_norm(layer.weight.detach()) for layer in self.layers(model)]


def _norm(weight: Tensor) -> float:
    wide = weight if weight.shape[0] <= weight.shape[1] else weight.t()
    return float(torch.linalg.eigvalsh(wide @ wide.t())[-1].clamp(min=0.0).sqrt())


def _seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _mlp() -> nn.Module:
    sizes = (64, 1024, 1024, 1024, 1024, 10)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@cache
def _digits(seed: int) -> Batch:
    from sklearn.datasets import load_digits

    generator = torch.Generator().manual_seed(1000 + seed)
    images = torch.tensor(load_digits().data[:1024], dtype=torch.float32) / 16
    return images, torch.randint(0, 10, (1024,), generator=generator)


def _digit_batch(seed: int, step: int) -> Batch:
    images, labels = _digits(seed)
    epoch, part = divmod(step, 8)
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(7919 * seed + epoch))
    chosen = order[128 * part : 128 * (part + 1)]
    return images[chosen], labels[chosen]


class Block(nn.Module):
    """Pre-norm attention with separate projections, and an MLP of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        h = self.norm1(x)
        q, k, v = (f(h).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Four blocks; the output layer is the embedding, so the 24 matrices of the blocks are all linear layers."""

    def __init__(self, vocabulary: int = 128, width: int = 256, depth: int = 4, length: int = 64) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)
        self.blocks = nn.Sequential(*(Block(width, 4) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.norm(self.blocks(h)) @ self.tokens.weight.t()


@cache
def _text() -> Tensor:
    """About a million characters of the standard library, ASCII only."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = ("argparse", "ast", "datetime", "decimal", "difflib", "doctest", "inspect", "pathlib", "pickle", "tarfile")
    text = "".join((folder / f"{name}.py").read_text("utf-8") for name in names if (folder / f"{name}.py").exists())
    return torch.tensor([ord(c) for c in text if ord(c) < 128])


def _text_batch(seed: int, step: int) -> Batch:
    text = _text()
    generator = torch.Generator().manual_seed(104729 * seed + step)
    starts = torch.randint(0, len(text) - 65, (32,), generator=generator)
    rows = text[starts[:, None] + torch.arange(65)]
    return rows[:, :-1], rows[:, 1:]


def mlp(optimizer: str = "adam", rate: float = 1e-3) -> Case:
    """The MLP under Adam or SGD."""
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    return Case(
        f"MLP {optimizer} {rate:g}",
        lambda seed: _seeded(seed, _mlp),
        lambda model: kind(model.parameters(), lr=rate),
        _digit_batch,
    )


def gpt() -> Case:
    """The transformer under AdamW."""
    return Case(
        "GPT",
        lambda seed: _seeded(seed, GPT),
        lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3),
        _text_batch,
    )
