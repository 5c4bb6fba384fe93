"""What training code does to a model, an optimizer and a gate behind each other's back: held on, or refused by name."""

import copy
import io
import math
import pickle

import pytest
import torch
from loops import CAP, adam, gated, loss_of, mlp, norms, train
from torch import nn

from opnorm.constraint.gate import control
from opnorm.constraint.rules import band, cap, orthogonalize, penalize
from opnorm.errors import UsageError


def test_a_fused_step_that_a_grad_scaler_leaves_out_is_none():
    """The scaler calls a fused optimizer all the same, and tells it that gradients were infinite."""
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    gate = control(model, cap("*", CAP)).attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(6):
        optimizer.zero_grad()
        scaler.scale(loss_of(model, step)).backward()
        if step in (2, 3):
            model[0].weight.grad[0, 0] = math.inf
        scaler.step(optimizer)
        scaler.update()
    assert gate.steps == 4
    assert max(norms(model)) <= 1.05 * CAP


def replaced(model):
    model.load_state_dict(mlp(3).state_dict(), assign=True)


def exchanged(model):
    model[2] = nn.Linear(64, 64)


def tied(model):
    model[4].weight = model[2].weight


def parametrized(model):
    nn.utils.parametrizations.orthogonal(model[2])


@pytest.mark.parametrize("change", [replaced, exchanged, tied, parametrized])
def test_parameters_that_are_exchanged_are_refused_at_the_next_step(change):
    model = mlp()
    _, optimizer = gated(model)
    train(model, optimizer, 3)
    change(model)
    optimizer.zero_grad()
    with pytest.raises(UsageError, match="the model has another parameter there than when the gate was made"):
        optimizer.step()


def test_what_no_attached_optimizer_holds_acts_with_the_first():
    model = mlp()
    parts = [torch.optim.Adam([model[i].weight], 1e-2) for i in (0, 2, 4)]
    gate = control(model, cap("*", CAP)).attach(*parts[:2])
    for step in range(20):
        loss_of(model, step).backward()
        for optimizer in reversed(parts):
            optimizer.step()
            optimizer.zero_grad()
    assert max(norms(model)) <= 1.15 * CAP
    assert gate.steps == 20


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate))])  # noqa: S301
def test_a_copy_of_a_gate_holds_its_own_model_once_attached(copied):
    model = mlp()
    gate, optimizer = gated(model)
    train(model, optimizer, 3)
    other = copied(gate)
    own = adam(other.model)
    other.attach(own)
    train(other.model, own, 3)
    assert (gate.steps, other.steps) == (3, 6)
    assert max(norms(other.model)) <= 1.05 * CAP
    train(model, optimizer, 1)
    assert gate.steps == 4


RULES = {
    "cap": cap("*", CAP), "scale": cap("*", CAP, method="scale"), "band": band("*", 0.1, CAP),
    "orthogonal": orthogonalize("*", CAP), "penalty": penalize("*", CAP),
}  # fmt: skip


def network():
    """Wide enough for the kernels of large matrices, and a convolution."""
    return nn.ModuleDict({"a": nn.Linear(64, 96), "b": nn.Linear(96, 64)})


def trained(layers, optimizer, gate, dtype, steps=3):
    x = torch.linspace(-1, 1, 512).reshape(8, 64).to(dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        (layers["b"](torch.tanh(layers["a"](x))).square().mean().float() + gate.penalty().float()).backward()
        optimizer.step()


@pytest.mark.parametrize("technique", RULES)
def test_a_model_that_changes_its_precision_is_held_on(technique):
    layers = network()
    optimizer = torch.optim.SGD(layers.parameters(), 1e-2)
    gate = control(layers, RULES[technique]).attach(optimizer)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float32):
        layers.to(dtype)
        trained(layers, optimizer, gate, dtype)
        assert technique == "penalty" or max(norms(layers)) <= 1.06 * CAP


@pytest.mark.parametrize("size", [None, (3, 12, 12)])
def test_a_convolution_that_changes_its_precision_is_held_on(size):
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gate = control(model, cap("*", 0.3), input_shape=size).attach(optimizer)
    for dtype in (torch.float32, torch.float64, torch.float32):
        model.to(dtype)
        for _ in range(3):
            gate.step()
    assert gate.finalize().holds


def test_a_state_from_another_precision_is_taken_up():
    layers = network().double()
    gate = control(layers, cap("*", CAP))
    gate.step()
    stored = io.BytesIO()
    torch.save(gate.state_dict(), stored)
    stored.seek(0)
    other = control(network(), cap("*", CAP))
    other.load_state_dict(torch.load(stored, weights_only=True))
    other.step()
    assert other.steps == 2


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (band("*", lambda step: 0.1 if step < 3 else 2.0, 1.0), r"lo = 2\.0 lies above hi = 1\.0 at step 3"),
        (cap("*", lambda step: 1.0 if step < 3 else 0.0), "a ceiling of 0 at step 3"),
        (orthogonalize("*", lambda step: 1.0 if step < 3 else math.inf), "scale must be finite at step 3"),
        (band("*", lambda step: 0.1 if step < 3 else math.inf, math.inf), "lo must be finite at step 3"),
        (cap("*", lambda step: 1.0 if step < 3 else torch.ones(2)), "for step 3: a level by step must be a number"),
    ],
)
def test_levels_that_stop_making_sense_are_refused_at_that_step(rule, says):
    model = mlp()
    gate = control(model, rule)
    for _ in range(3):
        gate.step()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(UsageError, match=says):
        gate.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_state_of_another_technique_or_in_pieces_changes_nothing():
    gate = control(mlp(), cap("*", CAP))
    gate.step()
    with pytest.raises(UsageError, match=r"other shapes or techniques of: 0\.weight"):
        control(mlp(), orthogonalize("*", CAP)).load_state_dict(gate.state_dict())
    state, other = gate.state_dict(), control(mlp(), cap("*", CAP))
    del state["sites"]["2.weight"]["kernel"]
    with pytest.raises(UsageError, match=r"2\.weight"):
        other.load_state_dict(state)
    assert other.steps == 0
    assert other.held[0].first is None


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_weights_without_entries_are_left_out_by_name():
    empty, model = nn.Linear(0, 3), nn.Sequential(nn.Linear(0, 3), nn.Linear(3, 3))
    gate = control(model, cap("*", 0.1))
    gate.step()
    assert gate.unheld == (("0.weight", "it has no entries"),)
    assert gate.finalize().holds
    with pytest.raises(UsageError, match="has no entries"):
        control(empty, cap("*", 1.0))


@pytest.mark.parametrize("technique", ["cap", "scale", "band", "orthogonal"])
def test_a_weight_that_is_not_finite_at_first_is_settled_once_it_is(technique):
    model = mlp()
    good = {name: 10 * value for name, value in model.state_dict().items()}
    with torch.no_grad():
        model[2].weight[0, 0] = math.nan
    gate = control(model, RULES[technique])
    gate.step()
    gate.step()
    model.load_state_dict(good)
    gate.step()
    assert norms(model)[1] <= 1.01 * CAP
