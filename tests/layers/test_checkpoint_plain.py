"""What no family decides: recurrent cells by their shapes, kernels, constants, parametrizations, and the rest."""

import numpy as np
import pytest
import torch
from checkpoints import Planned, made
from torch import nn

from opnorm.readers.families.plain import UNKNOWN_SETTINGS

CELLS = {
    "rnn": (nn.RNN, ()),
    "lstm": (nn.LSTM, ("input", "forget", "cell", "output")),
    "gru": (nn.GRU, ("reset", "update", "new")),
}


@pytest.mark.parametrize("prefix", ["", "decoder.rnn."])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_layers_by_gate_and_stacked(cell, prefix):
    torch.manual_seed(0)
    kind, gates = CELLS[cell]
    module = kind(5, 6, num_layers=2, bidirectional=True)
    arrays = {f"{prefix}{n}": t.numpy() for n, t in module.state_dict().items()}
    planned = Planned(arrays)
    for name, array in arrays.items():
        if array.ndim == 1:
            assert planned[name].status == "not_a_map"
            continue
        planned.check(name, array)
        assert planned[name].derived == bool(gates)
        for gate, part in zip(gates, np.split(array, max(len(gates), 1)), strict=bool(gates)):
            planned.check(f"{name}[{gate}]", part)
            assert not planned[f"{name}[{gate}]"].derived


def test_a_projected_lstm_and_cells():
    torch.manual_seed(0)
    projected = nn.LSTM(5, 6, proj_size=3)
    arrays = {f"a.{n}": t.numpy() for n, t in projected.state_dict().items()}
    arrays |= {f"b.{n}": t.numpy() for n, t in nn.LSTMCell(4, 3).state_dict().items()}
    planned = Planned(arrays)
    planned.check("a.weight_hh_l0[forget]", arrays["a.weight_hh_l0"][6:12])
    planned.check("a.weight_hr_l0", arrays["a.weight_hr_l0"])
    planned.check("b.weight_hh[output]", arrays["b.weight_hh"][9:])


@pytest.mark.parametrize(
    "shapes",
    [
        {"weight_ih_l0": (10, 5), "weight_hh_l0": (10, 5)},
        {"weight_ih_l0": (12, 5), "weight_hh_l0": (20, 5)},
        {"weight_hh_l0": (20, 5)},
        {"weight_ih_l0": (20, 5), "weight_hh_l0": (20, 5), "weight_ih_l1": (15, 5), "weight_hh_l1": (15, 5)},
        {"weight_ih_l0": (20, 5), "weight_hh_l0": (20, 0)},
    ],
)
def test_shapes_of_no_cell_are_plain_matrices(shapes):
    planned = Planned(made(shapes))
    assert set(planned.entries) == set(shapes)


def test_kernels_of_unknown_settings():
    arrays = made({"net.0.weight": (4, 3, 3, 3), "stem.conv.weight": (4, 3, 5), "x.conv3d.weight": (2, 2, 3, 3, 3)})
    planned = Planned(arrays)
    for entry in planned.entries.values():
        assert entry.kind == "convolution"
        assert "unknown settings" in entry.operator
        assert entry.reason == UNKNOWN_SETTINGS


@pytest.mark.parametrize(
    ("name", "shape", "status", "word"),
    [
        ("encoder.pos_embedding", (1, 9, 4), "not_a_map", "constant"),
        ("pos_embed", (1, 9, 4), "not_a_map", "constant"),
        ("class_token", (1, 1, 4), "not_a_map", "constant"),
        ("h.0.attn.bias", (1, 1, 8, 8), "not_a_map", "mask"),
        ("x.conv.weight_g", (4, 1, 1), "not_a_map", "magnitudes"),
        ("x.conv.parametrizations.weight.original0", (4, 1, 1), "not_a_map", "magnitudes"),
        ("x.fc.weight_g", (4, 1), "not_a_map", "magnitudes"),
        ("x.conv.weight_v", (4, 3, 3), "refused", "direction"),
        ("x.conv.weight_orig", (4, 3, 3, 3), "refused", "before its parametrization"),
        ("Conv_0.kernel", (3, 3, 4, 8), "refused", "Keras or Flax"),
        ("layer.weight", (4, 3, 3), "refused", "3 dimensions"),
        ("table", (4, 3, 3, 2), "refused", "4 dimensions"),
        ("w", (2, 2, 2, 2, 2, 2), "refused", "6 dimensions"),
    ],
)
def test_tensors_that_are_no_operators_alone(name, shape, status, word):
    entry = Planned(made({name: shape}))[name]
    assert entry.status == status
    assert word in entry.reason
    assert "opnorm." in entry.reason or "live" in entry.reason or status == "not_a_map" or "export" in entry.reason


@pytest.mark.parametrize("name", ["fc.weight_v", "fc.weight_orig", "fc.parametrizations.weight.original1"])
def test_matrices_before_a_parametrization_say_so(name):
    planned = Planned(made({name: (5, 4)}))
    planned.check(name, planned.arrays[name])
    assert "not the weight that the layer applies" in planned[name].reason


def test_a_bilinear_form_by_its_unfoldings():
    planned = Planned(made({"head.bilinear.weight": (3, 4, 5)}))
    assert len(planned.entries) == 3


def test_optimizer_state_scales_and_indices_stay_what_they_are():
    arrays = {
        "optimizer.exp_avg": np.ones((3, 3), np.float32),
        "x.position_ids": np.arange(4)[None],
        "x.running_mean": np.ones(3, np.float32),
        "n.weight": np.complex64(np.ones((2, 2))),
    }
    planned = Planned(arrays)
    assert [e.status for e in planned.entries.values()] == ["optimizer", "not_a_map", "not_a_map", "refused"]


def test_rows_are_in_file_order():
    arrays = made(
        {"z.weight": (3, 2), "h.0.attn.c_proj.weight": (2, 2), "h.0.attn.c_attn.weight": (2, 6), "a.weight": (2, 2)}
    )
    planned = Planned(arrays)
    order = [e.name.partition("[")[0] for e in planned.entries.values() if not e.derived]
    assert list(dict.fromkeys(order)) == list(arrays)


def test_no_tensors_no_layers():
    assert Planned({}).layers == []


@pytest.mark.parametrize("name", ["parametrizations.weight.original", "weight_v", "weight_orig"])
def test_a_layer_saved_alone_says_so_too(name):
    assert "not the weight that the layer applies" in Planned(made({name: (3, 4)}))[name].reason


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mixer.A_log", True),
        ("attn.relative_position_bias_table", True),
        ("fc.weight", False),
        ("attn.out_proj_weight", False),
        ("Dense_0.kernel", False),
        ("a", False),
    ],
)
def test_a_matrix_whose_name_is_no_weight_says_that_its_use_is_not_known(name, said):
    reason = Planned(made({name: (3, 4)}))[name].reason
    assert (reason == "how its layer uses it is not known: measured as the plain matrix") == said
    assert said or not reason
