"""Models of the shapes that everybody knows, with random weights: ResNet-18 and -50, GPT-2 small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Conv:
    """A convolution of a model at its true input size."""

    name: str
    outputs: int
    inputs: int
    kernel: int
    stride: int
    padding: int
    size: int


def resnet18_convolutions() -> list[Conv]:
    """The 17 convolutions of ResNet-18 that are not 1×1, at 224²."""
    found, inputs, size = [Conv("conv1", 64, 3, 7, 2, 3, 224)], 64, 56
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            found.append(Conv(f"layer{stage}.{block}.conv1", width, inputs, 3, stride, 1, size))
            size //= stride
            found.append(Conv(f"layer{stage}.{block}.conv2", width, width, 3, 1, 1, size))
            inputs = width
    return found


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, each with its normalization, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    """The usual names and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            blocks = []
            for block in range(depth):
                blocks.append(Bottleneck(inputs, width, 2 if stage > 1 and block == 0 else 1))
                inputs = 4 * width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(2048, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def gpt2_small() -> dict[str, torch.Tensor]:
    """The state of a GPT-2 small: fused, transposed projections, 12 blocks of 768."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return 0.02 * torch.randn(*shape, generator=generator)

    state = {"wte.weight": normal(50257, 768), "wpe.weight": normal(1024, 768)}
    for i in range(12):
        for name, rows, columns in (
            ("attn.c_attn", 768, 2304),
            ("attn.c_proj", 768, 768),
            ("mlp.c_fc", 768, 3072),
            ("mlp.c_proj", 3072, 768),
        ):
            state[f"h.{i}.{name}.weight"] = normal(rows, columns)
            state[f"h.{i}.{name}.bias"] = torch.zeros(columns)
        for norm in ("ln_1", "ln_2"):
            state[f"h.{i}.{norm}.weight"], state[f"h.{i}.{norm}.bias"] = torch.ones(768), torch.zeros(768)
    return {**state, "ln_f.weight": torch.ones(768), "ln_f.bias": torch.zeros(768)}
