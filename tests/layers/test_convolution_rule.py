"""Rows of kernels: words, the operator at its settings and size, what stands beside, kernels of unknown use."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from opnorm.bound import Evidence
from opnorm.frameworks import aslinearoperator
from opnorm.layers.convolution import convolution, convolution_words
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

RNG = np.random.default_rng(11)


@pytest.mark.parametrize(
    ("settings", "input_shape", "words"),
    [
        ({"stride": (2, 2), "padding": (3, 3)}, (3, 224, 224), "conv 4x3x7x7, stride 2, padding 3, on 3x224x224"),
        ({"stride": (1, 2), "padding": "same"}, None, "conv 4x3x7x7, stride 1x2, padding same, any input size"),
        ({"dilation": 2, "groups": 3}, None, "conv 4x3x7x7, dilation 2, groups 3, any input size"),
        ({"padding": ((0, 1), (2, 2))}, None, "conv 4x3x7x7, padding (0+1)x(2+2), any input size"),
        (
            {"padding": 1, "padding_mode": "reflect"},
            None,
            "conv 4x3x7x7, padding 1, padding mode reflect, any input size",
        ),
        (
            {"transposed": True, "output_padding": (1, 1)},
            (4, 5, 5),
            "transposed conv 4x3x7x7, output padding 1, on 4x5x5",
        ),
        ({}, None, "conv 4x3x7x7, any input size"),
        (None, None, "conv 4x3x7x7, unknown settings, any input size"),
    ],
)
def test_words(settings, input_shape, words):
    assert convolution_words((4, 3, 7, 7), settings, input_shape) == words


def explicit(kernel, shape, function, **settings):
    """The matrix of a convolution by torch, from unit impulses."""
    size = int(np.prod(shape))
    images = function(torch.eye(size, dtype=torch.float64).reshape(-1, *shape), torch.from_numpy(kernel), **settings)
    return images.reshape(size, -1).T.numpy()


@pytest.mark.parametrize("evidence", ["probable", "proved"])
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_the_row_measures_the_operator(evidence, framework):
    kernel = RNG.standard_normal((5, 3, 3, 3))
    settings = {"stride": 2, "padding": 1, "dilation": 1, "groups": 1}
    entry = convolution("w", kernel.shape, "float64", settings=settings, input_shape=(3, 7, 6))
    arrays = {"w": kernel if framework == "numpy" else torch.from_numpy(kernel)}
    request = Request(Evidence.parse(evidence))
    bracket = measure_operator(aslinearoperator(entry.build(arrays)), request).bracket(evidence)
    truth = np.linalg.norm(explicit(kernel, (3, 7, 6), functional.conv2d, stride=2, padding=1), 2)
    assert bracket.lower <= truth * (1 + 1e-12)
    assert truth <= bracket.upper * (1 + 1e-12)
    (flat,) = entry.also
    beside = flat.find(arrays, request)
    assert beside.lower <= np.linalg.norm(kernel.reshape(5, -1), 2) * (1 + 1e-12)
    assert np.linalg.norm(kernel.reshape(5, -1), 2) <= beside.upper * (1 + 1e-12)
    assert "not the norm of the layer" in flat.meaning


def test_a_transposed_kernel_is_flattened_as_torch_does():
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.ConvTranspose1d(4, 3, 5), n_power_iterations=200)
    kernel = layer.parametrizations.weight.original.detach()
    served = layer.weight.detach()
    sigma = float((kernel.flatten() / served.flatten()).median())
    entry = convolution("w", tuple(kernel.shape), "float32", settings={"transposed": True})
    beside = entry.also[0].find({"w": kernel}, Request(Evidence.PROVED, 1e-6))
    assert beside.lower * (1 - 1e-5) <= sigma <= beside.upper * (1 + 1e-5)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_unknown_settings_give_an_upper_bound_for_every_way(framework):
    kernel = RNG.standard_normal((4, 2, 3))
    entry = convolution("w", kernel.shape, "float64", settings=None)
    assert entry.operator == "conv 4x2x3, unknown settings, any input size"
    arrays = {"w": kernel if framework == "numpy" else torch.from_numpy(kernel)}
    bracket = measure_operator(aslinearoperator(entry.build(arrays)), Request(Evidence.PROVED)).bracket("proved")
    assert bracket.lower is None
    for settings in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 4}):
        matrix = explicit(kernel, (2, 9), functional.conv1d, **settings)
        assert np.linalg.norm(matrix, 2) <= bracket.upper * (1 + 1e-12)
    for settings in ({"groups": 2}, {"groups": 2, "stride": 3}):
        matrix = explicit(kernel, (4, 9), functional.conv1d, **settings)
        assert np.linalg.norm(matrix, 2) <= bracket.upper * (1 + 1e-12)
    matrix = explicit(kernel, (4, 9), functional.conv_transpose1d, stride=2)
    assert np.linalg.norm(matrix, 2) <= bracket.upper * (1 + 1e-12)
