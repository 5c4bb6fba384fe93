"""Directions of convolutions: planted windows as pictures, gains by frequency against closed forms."""

import numpy as np
import pytest
import torch
from constructed import orthonormal
from torch import nn

from opnorm.errors import UsageError
from opnorm.readers.live import open_model
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.spectrum.directions import Labels, directions_of
from opnorm.spectrum.directions.examples import of_patches
from opnorm.spectrum.directions.filters import GRID, frequency_direction, kernel_of

SOBEL = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]) / np.sqrt(12)
MIDDLE = GRID // 2


def of_live(model, k=2, labels=Labels(), number=0):  # noqa: B008
    checkpoint = open_model(model)
    labels = labels.placed(checkpoint.plan)
    entry = [e for layer in checkpoint.plan for e in layer.entries if "convolution" in e.kind][number]
    tensors = {t.name: checkpoint.read(t) for t in checkpoint.tensors}
    return directions_of(entry, tensors, labels, k)


def convolution(kernel, **settings):
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], bias=False, **settings)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel))
    return layer


def image(picture):
    return np.array(picture.values).reshape(picture.height, picture.width, picture.channels)


def test_a_planted_window_is_shown():
    answers = orthonormal(8, 2)
    window = np.zeros((3, 3))
    window[1, 1] = 1.0
    kernel = 3 * answers[:, 0, None, None, None] * SOBEL + 0.5 * answers[:, 1, None, None, None] * window
    first, second, *rest, frequency = of_live(convolution(kernel[:, :1]), k=1)
    assert not rest
    assert (first.side, first.kind, second.side, frequency.kind) == ("input", "filter", "output", "frequency")
    assert first.sigma == pytest.approx(3.0, rel=1e-6)
    shown = image(first.pictures[0])[:, :, 0]
    assert np.abs(shown).max() == 1.0
    assert abs(np.vdot(shown, SOBEL)) / np.linalg.norm(shown) == pytest.approx(1.0, abs=1e-3)
    assert first.positive[0].label in ("channel 0 at (1, 0)", "channel 0 at (1, 2)")
    strongest = int(np.abs(answers[:, 0]).argmax())
    assert strongest in {t.index for t in (*second.positive, *second.negative)}
    assert any(p.caption.startswith(f"filter {strongest}, norm") for p in second.pictures)


def test_gains_by_frequency_are_those_of_the_symbol():
    # [1 2 1] × [1 2 1]: (2 + 2 cos ω₁)(2 + 2 cos ω₂), 16 for constants and 0 at half a cycle
    kernel = np.outer([1.0, 2, 1], [1, 2, 1])[None, None]
    found = frequency_direction(kernel, 1)
    shown = image(found.pictures[0])[:, :, 0] * found.sigma
    angles = 2 * np.pi * np.linspace(-0.5, 0.5, GRID)
    truth = np.outer(2 + 2 * np.cos(angles), 2 + 2 * np.cos(angles))
    assert found.sigma == pytest.approx(16.0)
    assert np.abs(shown - truth).max() < 16 * 6e-4  # three digits are kept
    assert "0.00 cycles a pixel down and 0.00 across" in found.note
    assert "stride" not in found.note
    assert "stride" in frequency_direction(kernel, (2, 2)).note


def test_gains_of_several_channels_against_explicit_symbols():
    kernel = np.random.default_rng(2).standard_normal((5, 3, 3, 2))
    found = frequency_direction(kernel, None)
    shown = image(found.pictures[0])[:, :, 0] * found.sigma
    frequencies = np.linspace(-0.5, 0.5, GRID)
    for i, j in ((0, 0), (MIDDLE, MIDDLE), (4, 20)):
        waves = np.exp(2j * np.pi * (frequencies[i] * np.arange(3)[:, None] + frequencies[j] * np.arange(2)))
        assert shown[i, j] == pytest.approx(
            np.linalg.norm((kernel * waves).sum(axis=(2, 3)), 2), abs=1e-3 * shown.max()
        )


def test_only_the_first_convolution_of_an_image_is_pictured():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 3))
    assert any(d.kind == "frequency" for d in of_live(model, number=0))
    later = of_live(model, number=2)
    assert {d.kind for d in later} == {"units"}
    assert not any(d.pictures for d in later)
    assert "flat" not in later[0].note
    assert "not of the layer" in later[0].note


def test_a_spectrogram_of_one_axis_has_units():
    found = of_live(nn.Conv1d(1, 4, 5))
    assert {d.kind for d in found} == {"units"}
    assert found[0].positive[0].label.startswith("channel 0 at (")


def test_transposed_kernels_are_turned_to_outputs_first():
    for groups in (1, 2):
        layer = nn.ConvTranspose2d(4, 6, 3, groups=groups)
        checkpoint = open_model(layer)
        entry = next(e for la in checkpoint.plan for e in la.entries if e.kind == "transposed convolution")
        kernel = kernel_of(entry.part, {"weight": layer.weight.detach()})
        assert kernel.shape == (6, 4 // groups, 3, 3)
        weight = layer.weight.detach().numpy()
        for o in range(6):
            group, j = divmod(o, 6 // groups)
            for i in range(4 // groups):
                assert (kernel[o, i] == weight[group * (4 // groups) + i, j]).all()


def test_a_kernel_of_unknown_settings_is_pictured_too():
    arrays = {"conv1.weight": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    plan = MemoryCheckpoint(arrays).plan
    entry = plan[0].entries[0]
    assert directions_of(entry, arrays, Labels().placed(plan), 1)[-1].kind == "frequency"


def test_examples_answer_at_their_best_position():
    window = (2, 3, 3)
    rng = np.random.default_rng(4)
    images = rng.standard_normal((3, 2, 6, 7))
    patch = rng.standard_normal((18, 1))
    answers = of_patches(images, patch, window)
    layer = convolution(patch.T.reshape(1, *window)).double()
    with torch.no_grad():
        truth = layer(torch.from_numpy(images)).reshape(3, -1).numpy()
    best = truth[np.arange(3), np.abs(truth).argmax(axis=1)]
    assert answers[:, 0] == pytest.approx(best, rel=1e-6)
    with pytest.raises(UsageError, match="smaller"):
        of_patches(images[:, :, :2], patch, window)


def test_a_batch_of_images_finds_its_convolution():
    batch = np.zeros((4, 1, 8, 8), np.float32)
    batch[2, 0, 3:6, 3:6] = SOBEL
    layer = convolution(np.concatenate([SOBEL[None, None], 0.1 * np.abs(SOBEL)[None, None]]))
    found = of_live(layer, k=1, labels=Labels(batch=batch))
    assert found[-1].kind == "examples"
    assert (*found[-1].positive, *found[-1].negative)[0].label == "example 2"
