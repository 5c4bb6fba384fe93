"""Convolutional families from names alone: stride, padding, groups and sizes are those that torch's modules meet."""

import numpy as np
import pytest
import torch
from checkpoints import Planned
from torch import nn

from opnorm.layers.convolution import convolution_words
from opnorm.readers.families.plain import UNKNOWN_SETTINGS
from opnorm.readers.live import open_model


def conv(inputs, outputs, side, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride, groups):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        if stride > 1 or inputs != width:
            self.downsample = nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride, groups):
        super().__init__()
        inner, outputs = 2 * width if groups > 1 else width, 4 * width
        self.conv1, self.bn1 = conv(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, groups), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, outputs, 1), nn.BatchNorm2d(outputs)
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    """torchvision's ResNet in its names and strides, narrow."""

    def __init__(self, block, blocks, width=4, groups=1, stem=7):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, stem, 2), nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for stage, count in enumerate(blocks):
            layers = []
            for number in range(count):
                stride = 2 if stage and number == 0 else 1
                layers.append(block(inputs, width << stage, stride, groups))
                inputs = (width << stage) * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, 5)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


def normed(inputs, outputs, side, stride=1, groups=1):
    return nn.Sequential(conv(inputs, outputs, side, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, factor, nested):
        super().__init__()
        hidden = inputs * factor
        parts = [normed(inputs, hidden, 1)] if factor > 1 else []
        parts += [normed(hidden, hidden, 3, stride, hidden), conv(hidden, outputs, 1), nn.BatchNorm2d(outputs)]
        flat = [m for p in parts for m in (p if isinstance(p, nn.Sequential) else [p])]
        self.conv = nn.Sequential(*(parts if nested else flat))

    def forward(self, x):
        return self.conv(x)


class MobileNet(nn.Module):
    """torchvision's MobileNetV2 in its names and strides, narrow; `nested` False: its older, flat names."""

    def __init__(self, nested=True):
        super().__init__()
        features, inputs = [normed(3, 4, 3, 2)], 4
        for factor, outputs, count, stride in (
            (1, 2, 1, 1), (6, 3, 2, 2), (6, 4, 3, 2), (6, 5, 4, 2), (6, 6, 3, 1), (6, 7, 3, 2), (6, 8, 1, 1),
        ):  # fmt: skip
            for number in range(count):
                features.append(Inverted(inputs, outputs, stride if number == 0 else 1, factor, nested))
                inputs = outputs
        self.features = nn.Sequential(*features, normed(inputs, 16, 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(16, 5))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


MODELS = {
    "basic": lambda: ResNet(Basic, (2, 2, 2, 2)),
    "bottleneck": lambda: ResNet(Bottleneck, (1, 2, 1, 1)),
    "grouped": lambda: ResNet(Bottleneck, (1, 2, 1, 1), groups=2),
    "mobilenet": lambda: MobileNet(),
    "flat mobilenet": lambda: MobileNet(nested=False),
}
SHAPE = (3, 64, 96)


def met(model):
    """What each convolution of a live model is, and the size that it meets."""
    words = {}

    def note(name, module, size):
        settings = {"stride": module.stride[0], "padding": module.padding[0], "groups": module.groups}
        words[f"{name}.weight"] = settings, convolution_words(tuple(module.weight.shape), settings, size)

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, i, o, name=name: note(name, m, tuple(i[0].shape[1:])))
    model.eval()(torch.zeros(1, *SHAPE))
    return words


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", MODELS)
def test_settings_and_sizes_are_those_that_the_model_meets(kind, prefix):
    torch.manual_seed(0)
    model = MODELS[kind]()
    arrays = {f"{prefix}{name}": t.numpy() for name, t in model.state_dict().items()}
    planned, unsized = Planned(arrays, None, SHAPE), Planned(arrays)
    expected = met(model)
    assert len(expected) >= 16
    for name, (settings, words) in expected.items():
        entry = planned[f"{prefix}{name}"]
        assert entry.operator == words
        assert "whose names these are" in entry.reason
        shape = tuple(arrays[f"{prefix}{name}"].shape)
        assert unsized[f"{prefix}{name}"].operator == convolution_words(shape, settings, None)
    folded = [e for e in planned.entries.values() if e.name.endswith("folded]")]
    assert len(folded) == len(expected)
    assert len([e for e in planned.entries.values() if e.kind == "batch norm"]) == len(expected)


def test_batch_norm_is_the_diagonal_of_evaluation_mode():
    torch.manual_seed(0)
    model = MODELS["basic"]()
    nn.init.normal_(model.bn1.weight)
    nn.init.uniform_(model.bn1.running_var)
    planned = Planned({name: t.numpy() for name, t in model.state_dict().items()})
    truth = (model.bn1.weight.double() / (model.bn1.running_var.double() + 1e-5).sqrt()).abs().max().item()
    bracket = planned.measured("bn1.weight")
    assert bracket.lower <= truth * (1 + 1e-14)
    assert bracket.upper >= truth * (1 - 1e-14)
    assert bracket.width < 1e-12


def changed(arrays, **changes):
    return {**arrays, **{name.replace("__", "."): value for name, value in changes.items()}}


@pytest.mark.parametrize(
    "change",
    [
        {"conv1__weight": np.zeros((4, 3, 3, 3), np.float32)},
        {"layer2__0__conv2__weight": np.zeros((8, 8, 5, 5), np.float32)},
        {"layer3__0__bn1__running_var": np.zeros(3, np.float32)},
    ],
)
def test_a_model_that_only_resembles_a_resnet_is_not_one(change):
    arrays = {name: t.numpy() for name, t in MODELS["basic"]().state_dict().items()}
    planned = Planned(changed(arrays, **change))
    for entry in planned.entries.values():
        if entry.kind == "convolution":
            assert "unknown settings" in entry.operator
            assert entry.reason == UNKNOWN_SETTINGS
    assert planned.named("folded") == []
    assert planned["bn1.weight"].kind == "scale"


@pytest.mark.parametrize("prefix", ["backbone.", "student.model."])
def test_a_prefix_of_other_architectures_is_not_taken(prefix):
    """Segmentation networks put dilated ResNets under `backbone.`."""
    arrays = {f"{prefix}{name}": t.numpy() for name, t in MODELS["bottleneck"]().state_dict().items()}
    assert "unknown settings" in Planned(arrays)[f"{prefix}layer4.0.conv2.weight"].operator


def test_a_blurred_resnet_has_the_same_names_and_other_strides():
    """Found with timm's resnetblur50 and resnetaa50: without a configuration the row can only say what it assumes."""
    arrays = {name: t.numpy() for name, t in MODELS["bottleneck"]().state_dict().items()}
    assert "unknown settings" in Planned(arrays, {"architecture": "resnetblur50"})["layer2.0.conv2.weight"].operator
    assert "stride 2" in Planned(arrays, {"architecture": "resnet50"})["layer2.0.conv2.weight"].operator
    assert "blurred and dilated variants share" in Planned(arrays)["layer2.0.conv2.weight"].reason


def test_an_input_of_other_channels_gives_no_sizes():
    arrays = {name: t.numpy() for name, t in MODELS["basic"]().state_dict().items()}
    for shape in ((1, 64, 64), (64, 64)):
        row = Planned(arrays, None, shape)["layer4.0.conv2.weight"]
        assert "any input size" in row.operator
        assert f"input shape {','.join(map(str, shape))} is none that this model can have" in row.reason
    assert "input shape" not in Planned(arrays, None, (3, 64, 64))["layer4.0.conv2.weight"].reason


def explicit(function, size):
    """The matrix of an affine function's linear part, from impulses."""
    inputs = torch.eye(int(np.prod(size)), dtype=torch.float64).reshape(-1, *size)
    with torch.no_grad():
        return (function(inputs) - function(torch.zeros(1, *size, dtype=torch.float64))).flatten(1).T.numpy()


@pytest.mark.parametrize(
    ("path", "norm", "size"),
    [
        ("layer2.0.conv1", "layer2.0.bn1", (4, 8, 8)),
        ("layer2.0.downsample.0", "layer2.0.downsample.1", (4, 8, 8)),
        ("layer3.0.conv2", "layer3.0.bn2", (16, 2, 2)),
    ],
)
def test_rows_are_the_operators_of_the_model_and_its_folded_normalizations(path, norm, size):
    torch.manual_seed(1)
    model = MODELS["basic"]().eval()
    module, scale = model.get_submodule(path), model.get_submodule(norm)
    nn.init.normal_(scale.weight)
    nn.init.uniform_(scale.running_var, 0.5, 2)
    planned = Planned({name: t.numpy().copy() for name, t in model.state_dict().items()}, None, (3, 32, 32))
    model.double()
    planned.check(f"{path}.weight", explicit(module, size))
    label = norm.rpartition(".")[2]
    planned.check(f"{path}[{label} folded]", explicit(lambda x: scale(module(x)), size))


@pytest.mark.parametrize("kind", MODELS)
def test_the_live_model_and_its_checkpoint_have_the_same_rows(kind):
    torch.manual_seed(0)
    model = MODELS[kind]()
    planned = Planned({name: t.numpy() for name, t in model.state_dict().items()}, None, SHAPE)
    live = [e for layer in open_model(model, SHAPE).plan for e in layer.entries]
    said = {e.name: (e.kind, e.operator, e.shape, e.status, e.derived) for e in live}
    assert said == {n: (e.kind, e.operator, e.shape, e.status, e.derived) for n, e in planned.entries.items()}
