"""Each rule of a live module against the explicit Jacobian of the module itself, in float64."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from live import assert_brackets, jacobian, norm, rows_of

CONVOLUTIONS = [
    (kind, settings, size)
    for (kind, size), settings in itertools.product(
        [(nn.Conv1d, (9,)), (nn.Conv2d, (6, 5)), (nn.Conv3d, (4, 3, 4))],
        [
            {"padding": 1},
            {"stride": 2, "padding": 1, "bias": False},
            {"dilation": 2, "padding": 2},
            {"groups": 2, "padding": "same"},
            {"padding": 1, "padding_mode": "circular"},
            {"padding": 1, "padding_mode": "reflect", "stride": 2},
            {"padding": "valid"},
        ],
    )
]
TRANSPOSED = [
    (kind, settings, size)
    for (kind, size), settings in itertools.product(
        [(nn.ConvTranspose1d, (5,)), (nn.ConvTranspose2d, (4, 3)), (nn.ConvTranspose3d, (3, 2, 2))],
        [{"stride": 2}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "dilation": 2}],
    )
]


@pytest.mark.parametrize(("kind", "settings", "size"), CONVOLUTIONS + TRANSPOSED)
def test_convolutions(kind, settings, size):
    torch.manual_seed(1)
    module = nn.Sequential(kind(4, 6, 3, **settings)).double()
    row = rows_of(module, (4, *size))["0.weight"]
    assert_brackets(row, norm(jacobian(module, 4, *size)))
    assert row.operator.endswith(f"on 4x{'x'.join(map(str, size))}")
    kernel = module[0].weight.detach()
    flat = (kernel.transpose(0, 1) if module[0].transposed else kernel).flatten(1)
    (beside,) = row.also
    assert beside.name == "flattened kernel"
    assert beside.lower <= norm(flat) * (1 + 1e-12) <= beside.upper * (1 + 2e-12)


def test_an_output_size_asked_for_at_the_call_is_seen():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 3, 3, stride=2, bias=False)

        def forward(self, x):
            return self.up(x, output_size=(8, 10))

    model = Decoder().double()
    row = rows_of(model, (2, 3, 4))["up.weight"]
    assert "output padding 1" in row.operator
    assert_brackets(row, norm(jacobian(model, 2, 3, 4)))


def lively(norm_layer):
    """Statistics and scales that are not the initial ones."""
    with torch.no_grad():
        norm_layer.running_mean.normal_()
        norm_layer.running_var.uniform_(0.3, 3)
        if norm_layer.affine:
            norm_layer.weight.normal_()
    return norm_layer


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_and_what_it_folds_into(affine):
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        lively(nn.BatchNorm2d(4, affine=affine)),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        lively(nn.BatchNorm2d(6, affine=affine)),
        nn.Flatten(),
        nn.Linear(6 * 11 * 11, 5),
        lively(nn.BatchNorm1d(5, affine=affine)),
    )
    model = model.double()
    model.train()
    rows = rows_of(model, (3, 5, 5))
    assert model.training
    assert model[1].training
    model.eval()
    name = "1.weight" if affine else "1.running_var"
    assert_brackets(rows[name], norm(jacobian(model[1], 4, 1, 1)), width=1e-9)
    for first, size in ((0, (3, 5, 5)), (3, (4, 5, 5)), (6, (6 * 11 * 11,))):
        pair = model[first : first + 2]
        assert_brackets(rows[f"{first}[{first + 1} folded]"], norm(jacobian(pair, *size)))
        assert rows[f"{first}[{first + 1} folded]"].derived


def test_dense_layers_and_tables():
    torch.manual_seed(3)
    model = nn.ModuleDict({"linear": nn.Linear(7, 5), "table": nn.Embedding(9, 4), "bag": nn.EmbeddingBag(8, 3)})
    rows = rows_of(model)
    for name in model:
        weight = model[name].weight.detach().double().numpy()
        assert_brackets(rows[f"{name}.weight"], norm(weight))
        if name != "linear":
            largest = np.linalg.norm(weight, axis=1).max()
            (beside,) = rows[f"{name}.weight"].also
            assert beside.name == "largest row norm"
            assert beside.lower <= largest * (1 + 1e-14) <= beside.upper * (1 + 2e-14)


@pytest.mark.parametrize("settings", [{}, {"kdim": 5, "vdim": 6}, {"add_bias_kv": True}])
def test_multihead_attention(settings):
    torch.manual_seed(4)
    attention = nn.MultiheadAttention(8, 2, batch_first=True, **settings).double()
    rows = rows_of(nn.ModuleDict({"attn": attention}))
    if settings.get("kdim"):
        q, k, v = attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight
        names = [f"attn.{part}_proj_weight" for part in "qkv"]
    else:
        q, k, v = attention.in_proj_weight.chunk(3)
        names = [f"attn.in_proj_weight[{part}]" for part in "qkv"]
    for name, weight in zip(names, (q, k, v), strict=True):
        assert_brackets(rows[name], norm(weight.detach()))
    assert_brackets(rows["attn.out_proj.weight"], norm(attention.out_proj.weight.detach()))
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = (q[part].T @ k[part] / 2).detach()
        moves = (attention.out_proj.weight[:, part] @ v[part]).detach()
        assert_brackets(rows[f"attn[qk head {head}]"], norm(scores))
        assert_brackets(rows[f"attn[ov head {head}]"], norm(moves))


def test_the_circuit_is_what_attention_moves():
    """With one position attention is the affine map x ↦ Σ_h W_O W_V x: the ov rows are its heads."""
    torch.manual_seed(5)
    attention = nn.MultiheadAttention(4, 1, batch_first=True).double()
    row = rows_of(nn.ModuleDict({"a": attention}))["a[ov head 0]"]
    assert_brackets(row, norm(jacobian(lambda x: attention(x, x, x, need_weights=False)[0], 1, 4)))


def test_worst_case_constants_hold_and_rms_norm_attains_its_own():
    torch.manual_seed(6)
    layers = {
        "layer": nn.LayerNorm(6, eps=1e-3), "rms": nn.RMSNorm(6, eps=1e-2), "group": nn.GroupNorm(2, 6, eps=1e-3),
        "instance": nn.InstanceNorm1d(6, affine=True, eps=1e-3),
    }  # fmt: skip
    model = nn.ModuleDict(layers).double()
    with torch.no_grad():
        for layer in layers.values():
            layer.weight.normal_()
    rows = rows_of(model)
    rng = np.random.default_rng(0)
    for name, layer in layers.items():
        row = rows[f"{name}.weight"]
        assert row.status == "not_a_map"
        (beside,) = row.also
        assert "worst-case" in beside.name
        assert beside.lower is None
        assert beside.evidence == "proved"
        shape = (6, 4) if name == "instance" else (6,)
        for scale in (0.0, 1e-3, 1.0):
            point = torch.from_numpy(scale * rng.standard_normal(shape))
            matrix = torch.autograd.functional.jacobian(lambda x, f=layer: f(x[None])[0], point)
            matrix = matrix.reshape(point.numel(), -1)
            assert norm(matrix) <= beside.upper * (1 + 1e-12)
    zero = torch.zeros(6, dtype=torch.float64)
    attained = norm(torch.autograd.functional.jacobian(lambda x: layers["rms"](x), zero))
    (beside,) = rows["rms.weight"].also
    assert beside.upper == pytest.approx(attained, rel=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_rows_are_the_slices(kind, bidirectional):
    torch.manual_seed(7)
    module = kind(4, 5, num_layers=2, bidirectional=bidirectional)
    rows = rows_of(nn.ModuleDict({"cell": module}))
    gates = {"LSTM": ["input", "forget", "cell", "output"], "GRU": ["reset", "update", "new"], "RNN": []}[kind.__name__]
    for name, parameter in module.named_parameters():
        row = rows[f"cell.{name}"]
        if parameter.ndim == 1:
            assert (row.status, row.kind) == ("not_a_map", "bias")
            continue
        assert_brackets(row, norm(parameter.detach()))
        assert row.derived == bool(gates)
        for gate, part in zip(gates, parameter.detach().chunk(max(len(gates), 1)), strict=False):
            assert_brackets(rows[f"cell.{name}[{gate}]"], norm(part))


def test_a_served_weight_is_measured_not_what_is_stored():
    torch.manual_seed(8)
    utils = nn.utils
    model = nn.ModuleDict(
        {
            "weight": utils.parametrizations.weight_norm(nn.Linear(6, 4)),
            "spectral": utils.parametrizations.spectral_norm(nn.Linear(5, 7)),
            "orthogonal": utils.parametrizations.orthogonal(nn.Linear(5, 5)),
            "old_weight": old(utils.weight_norm, nn.Linear(3, 4)),
            "old_spectral": old(utils.spectral_norm, nn.Linear(5, 7)),
            "pruned": utils.prune.l1_unstructured(nn.Linear(6, 6), "weight", amount=0.5),
        }
    ).eval()
    with torch.no_grad():
        model["weight"].parametrizations.weight.original0.mul_(3)
    rows = rows_of(model)
    for name in ("weight", "spectral", "orthogonal", "pruned", "old_weight"):
        assert_brackets(rows[f"{name}.weight"], norm(model[name].weight.detach()), slack=1e-6)
    model["old_spectral"](torch.zeros(1, 5))  # its hook computes the weight in evaluation mode too
    assert_brackets(rows["old_spectral.weight"], norm(model["old_spectral"].weight.detach()), slack=1e-6)
    assert rows["spectral.parametrizations.weight.0._u"].status == "not_a_map"
    assert rows["orthogonal.weight"].lower > 0.98
    assert rows["orthogonal.weight"].upper < 1.02


def old(function, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return function(module)


def test_what_parametrizations_keep_is_no_weight_in_a_layer_alone():
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(4, 4))
    rows = rows_of(layer)
    assert_brackets(rows["weight"], norm(layer.weight.detach()))
    assert rows["parametrizations.weight.0.base"].status == "not_a_map"
    assert [name for name, row in rows.items() if row.status == "measured"] == ["weight"]
