"""Recurrent rows: gates are named as the cells use them, stacks stand beside, what does not fit is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from opnorm.layers.recurrent import GATES, recurrent


def parts(cell, kind):
    """The gate matrices of a torch cell by row, and the cell itself."""
    torch.manual_seed(1)
    module = kind(3, 4).double()
    state = {name: tensor.detach() for name, tensor in module.named_parameters()}
    names = {name: f"rnn.{name}" for name in state}
    entries = recurrent("rnn", cell, names, {name: tuple(t.shape) for name, t in state.items()}, "float64")
    arrays = {f"rnn.{name}": tensor for name, tensor in state.items()}
    built = {e.name: e.build(arrays) for e in entries if e.status == "weight" and not e.derived}
    biases = {name: tensor.chunk(max(len(GATES[cell]), 1)) for name, tensor in state.items() if "bias" in name}
    return module, built, biases


def test_lstm_gates_compute_the_cell():
    module, w, b = parts("lstm", nn.LSTMCell)
    x, h, c = (torch.randn(1, n, dtype=torch.float64) for n in (3, 4, 4))

    def gate(name):
        number = GATES["lstm"].index(name)
        inner = x @ w[f"rnn.weight_ih[{name}]"].T + h @ w[f"rnn.weight_hh[{name}]"].T
        return inner + b["bias_ih"][number] + b["bias_hh"][number]

    state = gate("forget").sigmoid() * c + gate("input").sigmoid() * gate("cell").tanh()
    output = gate("output").sigmoid() * state.tanh()
    expected = module(x, (h, c))
    torch.testing.assert_close((output, state), expected, rtol=1e-12, atol=1e-12)


def test_gru_gates_compute_the_cell():
    module, w, b = parts("gru", nn.GRUCell)
    x, h = (torch.randn(1, n, dtype=torch.float64) for n in (3, 4))

    def of_input(name):
        return x @ w[f"rnn.weight_ih[{name}]"].T + b["bias_ih"][GATES["gru"].index(name)]

    def of_hidden(name):
        return h @ w[f"rnn.weight_hh[{name}]"].T + b["bias_hh"][GATES["gru"].index(name)]

    reset, update = ((of_input(n) + of_hidden(n)).sigmoid() for n in ("reset", "update"))
    new = (of_input("new") + reset * of_hidden("new")).tanh()
    torch.testing.assert_close((1 - update) * new + update * h, module(x, h), rtol=1e-12, atol=1e-12)


def test_an_rnn_has_no_gates():
    module, w, _ = parts("rnn", nn.RNNCell)
    assert list(w) == ["rnn.weight_ih", "rnn.weight_hh"]
    assert torch.equal(w["rnn.weight_hh"], module.weight_hh)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_every_tensor_of_a_bidirectional_projected_stack_has_a_row(cell):
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
    projected = {"proj_size": 2} if cell == "lstm" else {}
    module = kind(3, 4, num_layers=2, bidirectional=True, **projected)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    entries = recurrent("m", cell, {name: f"m.{name}" for name in shapes}, shapes, "float32")
    covered = [t for e in entries if not e.derived for t in e.tensors]
    assert set(covered) == {f"m.{name}" for name in shapes}
    arrays = {f"m.{name}": p.detach().numpy() for name, p in module.named_parameters()}
    for entry in entries:
        if entry.status == "weight":
            assert entry.build(arrays).shape == entry.shape
    stacked = [e for e in entries if e.derived]
    assert len(stacked) == (8 if GATES[cell] else 0)
    kinds = {e.kind for e in entries}
    assert ("recurrent projection" in kinds) == bool(projected)


def test_stack_and_gates_bound_each_other():
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((8, 3))
    entries = recurrent("m", "lstm", {"weight_ih_l0": "w"}, {"weight_ih_l0": (8, 3)}, "float64")
    norms = {e.name: np.linalg.norm(e.build({"w": weight}), 2) for e in entries}
    whole = norms.pop("w")
    assert max(norms.values()) <= whole <= 2 * max(norms.values())
    assert [e.operator for e in entries] == ["dense 2x3"] * 4 + ["dense 8x3"]


def test_rows_that_do_not_hold_the_gates_are_refused():
    (entry,) = recurrent("m", "gru", {"weight_ih_l0": "w"}, {"weight_ih_l0": (8, 3)}, "float32")
    assert entry.status == "refused"
    assert "does not hold the 3 gates of a GRU" in entry.reason
    assert "(8, 3)" in entry.reason
