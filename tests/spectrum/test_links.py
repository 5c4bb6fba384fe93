"""Links of constructed chains: what one layer writes against what the next reads, and the gain of the pair."""

import numpy as np
import pytest
import torch
from constructed import of_file, of_model, orthonormal, spectral, with_triplets
from torch import nn

from opnorm.readers.live import open_model
from opnorm.spectrum.directions.triplets import plain
from opnorm.spectrum.interaction.links import LARGEST, _size_and_distance
from opnorm.spectrum.interaction.operators import Acting, Operators


def sequential(*parts):
    """An `nn.Sequential` in float64; matrices become dense layers."""
    modules = []
    for part in parts:
        if isinstance(part, np.ndarray):
            layer = nn.Linear(part.shape[1], part.shape[0], bias=False, dtype=torch.float64)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(part))
            part = layer
        modules.append(part)
    return nn.Sequential(*modules)


VALUES = np.array([4.0, 2.0, 1.0])


def pair(cosine, size=40, seed=0):
    """W₁ and W₂ whose leading directions meet at this cosine, the other ones not at all."""
    basis = orthonormal(size, 8, seed)
    w1 = with_triplets(basis[:, :3], VALUES, orthonormal(30, 3, seed + 1))
    read = np.column_stack([cosine * basis[:, 0] + np.sqrt(1 - cosine**2) * basis[:, 3], basis[:, 4:6]])
    return w1, with_triplets(orthonormal(20, 3, seed + 2), VALUES, read)


@pytest.mark.parametrize("cosine", [1.0, 0.6, 0.05])
def test_alignment_is_the_cosine_that_was_built(cosine):
    w1, w2 = pair(cosine)
    (link,) = of_model(sequential(w1, w2)).links
    assert (link.first, link.second, link.through) == ("0.weight", "1.weight", "")
    assert link.alignment == pytest.approx(cosine, abs=1e-9)
    assert link.k == 3
    assert link.overlap == pytest.approx(cosine**2 / 3, abs=1e-9)
    assert link.chance == pytest.approx(3 / 40)
    assert spectral(w2 @ w1) == pytest.approx(16 * cosine)
    assert link.gain.lower * (1 - 1e-12) <= 16 * cosine <= link.gain.upper * (1 + 1e-12)
    assert link.gain.value == pytest.approx(16 * cosine, rel=0.01)
    assert link.gain.evidence in ("probable", "proved")
    assert link.product.lower <= 16 * (1 + 1e-12)
    assert link.product.upper >= 16 * (1 - 1e-12)
    assert link.looseness == pytest.approx(1 / cosine, rel=0.02)


def test_all_of_a_subspace_read_is_an_overlap_of_one():
    basis = orthonormal(40, 3)
    turn = orthonormal(3, 3, 5)
    w1 = with_triplets(basis, VALUES, orthonormal(30, 3, 1))
    w2 = with_triplets(orthonormal(20, 3, 2), VALUES, basis @ turn)
    (link,) = of_model(sequential(w1, w2)).links
    assert link.overlap == pytest.approx(1.0, abs=1e-9)
    assert link.alignment == pytest.approx(abs(turn[0, 0]), abs=1e-8)


def test_what_is_never_read_has_no_gain():
    w1, w2 = pair(0.0)
    (link,) = of_model(sequential(w1, w2)).links
    assert link.alignment < 1e-9
    assert link.overlap < 1e-9
    assert link.gain.value < 1e-9
    assert link.gain.lower == 0
    assert "annihilates" in link.gain.note
    assert 1e9 < link.looseness <= LARGEST
    first, second = np.zeros((6, 4)), np.zeros((3, 6))
    first[0, 0], second[0, 1] = 1, 1
    (link,) = of_model(sequential(first, second)).links
    assert link.looseness == LARGEST


def test_random_directions_overlap_by_chance():
    rng = np.random.default_rng(0)
    overlaps, chances = [], set()
    for _ in range(30):
        w1, w2 = rng.standard_normal((32, 64)), rng.standard_normal((64, 32))
        (link,) = of_model(sequential(w1, w2)).links
        overlaps.append(link.overlap)
        chances.add(link.chance)
        assert link.product.upper >= link.gain.lower
    assert chances == {8 / 32}
    # 64 squared cosines of mean 1/32 and deviation √2/32 each, nearly independent: ±0.0057 for the mean of 30
    assert np.mean(overlaps) == pytest.approx(8 / 32, abs=0.03)


def test_chains_pass_what_acts_on_each_number_alone_and_stop_at_anything_else():
    def layer(n, m):
        return nn.Linear(n, m)

    model = nn.Sequential(
        layer(6, 8), nn.ReLU(), nn.Dropout(0.1), layer(8, 9), nn.Sequential(nn.GELU(), layer(9, 5)), nn.Softmax(-1),
        layer(5, 4), nn.Identity(), layer(4, 3),
    )  # fmt: skip
    links = of_model(model).links
    named = {(link.first, link.second): link.through for link in links}
    assert named == {
        ("0.weight", "3.weight"): "ReLU",
        ("3.weight", "4.1.weight"): "GELU",
        ("6.weight", "8.weight"): "",
    }


def test_a_sequence_that_is_not_torchs_own_is_not_known():
    class Skipping(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    found = of_model(Skipping(nn.Linear(4, 4), nn.Linear(4, 4)))
    assert found.links == ()
    assert "not known" in found.notes[0]
    hooked = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    hooked.register_forward_pre_hook(lambda module, args: args)
    assert of_model(hooked).links == ()


def test_a_file_of_matrices_that_fit_has_no_links():
    arrays = {"net.0.weight": np.ones((8, 6), np.float32), "net.2.weight": np.ones((3, 8), np.float32)}
    found = of_file(arrays)
    assert (found.links, found.order) == ((), ())
    assert "no proof" in found.notes[0]


def test_layer_norm_is_folded_into_what_reads_it():
    torch.manual_seed(0)
    norm = nn.LayerNorm(8, dtype=torch.float64)
    w1, w2 = np.random.default_rng(1).standard_normal((8, 6)), np.random.default_rng(2).standard_normal((5, 8))
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
    (link,) = of_model(sequential(w1, nn.ReLU(), norm, w2)).links
    folded = w2 * norm.weight.detach().numpy()
    folded -= folded.mean(axis=1, keepdims=True)
    assert link.through == "ReLU, LayerNorm"
    assert link.gain.value == pytest.approx(spectral(folded @ w1), rel=0.01)
    assert link.product.value == pytest.approx(spectral(folded) * spectral(w1), rel=0.02)


def test_an_undefined_layer_takes_no_others_with_it():
    w1, w2 = pair(0.6)
    broken = np.full((20, 20), np.nan)
    found = of_model(sequential(w1, w2, broken, np.eye(20)))
    assert [(link.first, link.second) for link in found.links] == [("0.weight", "1.weight")]
    assert any("left out" in note for note in found.notes)


def test_the_order_of_a_sequence_is_that_of_its_modules():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(12)))
    assert of_model(model).order == tuple(f"{i}.weight" for i in range(12))


class Net(nn.Module):
    """A small convolutional network whose code is its own: what follows what is known from a trial run alone."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.act = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.pool, self.fc = nn.Conv2d(4, 6, 3, stride=2), nn.AvgPool2d(2), nn.Linear(6, 3)

    def forward(self, x):
        x = self.conv2(self.act(self.bn1(self.conv1(x))))
        return self.fc(self.pool(x).mean((2, 3)))


def test_a_traced_network_of_convolutions():
    torch.manual_seed(0)
    net = Net().double()
    with torch.no_grad():
        net.bn1.running_var.uniform_(0.5, 2)
    assert of_model(net, measured=False).links == ()
    (link,) = of_model(net, (1, 8, 8), measured=False).links
    assert (link.first, link.second, link.through) == ("conv1.weight", "conv2.weight", "BatchNorm, ReLU")
    net.eval()
    with torch.no_grad():
        unit = torch.eye(64).double().reshape(64, 1, 8, 8)
        scale = (net.bn1.weight / (net.bn1.running_var + net.bn1.eps).sqrt())[:, None, None]
        first = nn.functional.conv2d(unit, net.conv1.weight, padding=1) * scale
        truth = nn.functional.conv2d(first, net.conv2.weight, stride=2).reshape(64, -1).numpy().T
        norm1 = spectral(first.reshape(64, -1).numpy())
        units = torch.eye(256).double().reshape(256, 4, 8, 8)
        norm2 = spectral(nn.functional.conv2d(units, net.conv2.weight, stride=2).reshape(256, -1).numpy())
    assert link.gain.value == pytest.approx(spectral(truth), rel=0.01)
    assert link.product.value == pytest.approx(norm1 * norm2, rel=0.02)
    assert link.product.evidence == "estimate"  # the rows were not measured
    assert link.chance == pytest.approx(8 / 256)


def test_a_parameter_of_the_model_itself_feeds_nothing():
    model = nn.Sequential(nn.Linear(6, 5))
    model.register_parameter("table", nn.Parameter(torch.randn(6, 6)))
    assert of_model(model).links == ()


def test_convolutions_of_unknown_size_say_what_is_missing():
    found = of_model(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3)))
    assert found.links == ()
    assert found.notes == (
        "1 of 1 pairs were left out: convolutions of unknown input size have no products: give the shape of the "
        "model's input",
    )


def resnet_of_basic_blocks():
    """A ResNet-18 of few channels, by torchvision's names."""
    shapes = {"conv1.weight": (4, 3, 7, 7), "fc.weight": (5, 16)}
    norms, channels = [("bn1", 4)], 4
    for stage, width in enumerate((4, 6, 8, 16), start=1):
        for n in range(2):
            block = f"layer{stage}.{n}"
            shapes |= {f"{block}.conv1.weight": (width, channels, 3, 3), f"{block}.conv2.weight": (width, width, 3, 3)}
            norms += [(f"{block}.bn1", width), (f"{block}.bn2", width)]
            if n == 0 and stage > 1:
                shapes[f"{block}.downsample.0.weight"] = (width, channels, 1, 1)
                norms.append((f"{block}.downsample.1", width))
            channels = width
    for norm, width in norms:
        shapes |= {f"{norm}.{role}": (width,) for role in ("weight", "bias", "running_mean", "running_var")}
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {n: np.abs(a) if n.endswith("running_var") else a for n, a in arrays.items()}


def test_blocks_of_a_residual_network_in_a_file():
    arrays = resnet_of_basic_blocks()
    found = of_file(arrays, select=lambda name: name.startswith("layer4.0."), input_shape=(3, 64, 64))
    (link,) = found.links
    assert (link.first, link.second) == ("layer4.0.conv1.weight", "layer4.0.conv2.weight")
    assert link.through == "BatchNorm, ReLU"
    weight, second = (torch.from_numpy(arrays[f"layer4.0.conv{i}.weight"]).double() for i in (1, 2))
    scale = arrays["layer4.0.bn1.weight"] / np.sqrt(arrays["layer4.0.bn1.running_var"].astype(float) + 1e-5)
    unit = torch.eye(8 * 16).double().reshape(-1, 8, 4, 4)
    image = nn.functional.conv2d(unit, weight, stride=2, padding=1) * torch.from_numpy(scale)[:, None, None]
    truth = nn.functional.conv2d(image, second, padding=1).reshape(8 * 16, -1).numpy()
    assert link.gain.value == pytest.approx(spectral(truth), rel=0.01)
    assert len(of_file(arrays).links) == 0
    assert "8 of 8 pairs" in of_file(arrays).notes[0]


def test_a_folded_scale_that_is_rounded_is_within_the_distance_that_is_added():
    torch.manual_seed(1)
    first, norm = nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.running_var.uniform_(0.5, 2)
    checkpoint = open_model(nn.Sequential(first, norm), (6,))
    entry = next(e for layer in checkpoint.plan for e in layer.entries if e.kind == "linear with batch norm")
    operator = Operators(checkpoint).of(Acting(entry))
    size, distance = _size_and_distance(operator)
    scale = norm.weight.detach().numpy().astype(float) / np.sqrt(norm.running_var.numpy().astype(float) + norm.eps)
    weight = first.weight.detach().numpy().astype(float)
    truth, computed = scale[:, None] * weight, plain(operator).matmat64(np.eye(6))
    assert 0 < spectral(truth - computed) <= distance < 1e-6 * size
    assert spectral(truth) <= size
