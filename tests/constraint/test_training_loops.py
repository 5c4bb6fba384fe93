"""The gate in the loops that people write: it acts after real steps and changes nothing else."""

import copy

import pytest
import torch
from loops import CAP, INPUTS, TARGETS, adam, assert_same, gated, loss_of, mlp, norms, train, weights
from torch import nn
from torch.utils.checkpoint import checkpoint

from opnorm.constraint.gate import control
from opnorm.constraint.rules import cap, watch
from opnorm.errors import UsageError


def test_plain():
    free, model = mlp(), mlp()
    train(free, adam(free), 40)
    gate, optimizer = gated(model)
    train(model, optimizer, 40)
    assert max(norms(free)) > 2 * CAP
    assert max(norms(model)) <= 1.1 * CAP
    assert gate.steps == 40


@pytest.mark.parametrize("rules", [[cap("*", 1e6)], [watch("*", every=1)]])
def test_a_gate_that_never_moves_leaves_training_bit_identical(rules):
    free, model = mlp(), mlp()
    plain = adam(free)
    train(free, plain, 10)
    gate, optimizer = gated(model, *rules)
    train(model, optimizer, 10, gate=gate)
    assert_same(weights(free), weights(model))
    assert list(free.state_dict()) == list(model.state_dict())
    one, other = plain.state_dict(), optimizer.state_dict()
    assert one["param_groups"] == other["param_groups"]
    assert_same(
        [v for s in one["state"].values() for v in s.values()], [v for s in other["state"].values() for v in s.values()]
    )


def test_names_states_and_hooks_of_model_and_optimizer_stay():
    model = mlp()
    optimizer = adam(model)
    before = list(model.state_dict()), list(model.named_modules()), list(optimizer.state_dict())
    gate, _ = gated(model, optimizer=optimizer)
    train(model, optimizer, 2)
    assert before == (list(model.state_dict()), list(model.named_modules()), list(optimizer.state_dict()))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    gate.detach()
    steps = gate.steps
    train(model, optimizer, 2)
    assert gate.steps == steps


def test_steps_that_a_grad_scaler_skips_are_none():
    model = mlp()
    gate, optimizer = gated(model, every=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(6):
        optimizer.zero_grad()
        scaler.scale(loss_of(model, step)).backward()
        if step in (2, 3):
            model[0].weight.grad[0, 0] = float("inf")
            before = weights(model)
        scaler.step(optimizer)
        scaler.update()
        if step in (2, 3):
            assert_same(before, weights(model))
    assert gate.steps == 4


def test_bf16_autocast():
    model = mlp()
    _, optimizer = gated(model)
    for step in range(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, step)
        loss.backward()
        with torch.autocast("cpu", torch.bfloat16):  # a step inside it: the gate's own products stay exact
            optimizer.step()
    assert max(norms(model)) <= 1.05 * CAP


def test_weights_of_16_bits():
    model = mlp().bfloat16()
    _, optimizer = gated(model)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(INPUTS.bfloat16()), TARGETS.bfloat16()).backward()
        optimizer.step()
    assert max(norms(model)) <= 1.06 * CAP
    assert all(p.dtype is torch.bfloat16 for p in model.parameters())


def test_accumulation_counts_optimizer_steps():
    model = mlp()
    gate, optimizer = gated(model)
    for step in range(8):
        (loss_of(model, step) / 4).backward()
        if step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    assert gate.steps == 2


def test_a_closure_that_is_called_often_is_one_step():
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.02, max_iter=5)
    gate = control(model, cap("*", CAP)).attach(optimizer)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert gate.steps == 3 < len(calls)
    assert max(norms(model)) <= 1.1 * CAP


class Sharpness(torch.optim.SGD):
    """As SAM does: up along the gradient, a second gradient there, back, and the step."""

    def step(self, closure):
        own = [p for g in self.param_groups for p in g["params"]]
        with torch.no_grad():
            moves = [0.05 * p.grad for p in own]
            for p, move in zip(own, moves, strict=True):
                p.add_(move)
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            for p, move in zip(own, moves, strict=True):
                p.sub_(move)
        super().step()


def test_an_optimizer_that_steps_inside_its_own_step_ends_under_the_cap():
    model = mlp()
    optimizer = Sharpness(model.parameters(), lr=0.05)
    control(model, cap("*", CAP)).attach(optimizer)
    for step in range(5):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step(lambda step=step: loss_of(model, step).backward())
    assert max(norms(model)) <= 1.05 * CAP


def test_frozen_layers_are_looked_at_only():
    model = mlp()
    model[2].requires_grad_(False)
    with torch.no_grad():
        model[2].weight.mul_(5)
    before = model[2].weight.clone()
    gate, optimizer = gated(model)
    train(model, optimizer, 5)
    assert torch.equal(model[2].weight, before)
    assert norms(model)[0] <= 1.05 * CAP
    assert gate.metrics()["opnorm/2.weight/sigma"] == pytest.approx(norms(model)[1], rel=0.1)


def test_parameter_groups_and_several_optimizers():
    model = mlp()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    muon = torch.optim.Muon(matrices[:2], lr=0.05)
    rest = torch.optim.AdamW(
        [{"params": matrices[2:], "lr": 1e-2}, {"params": [p for p in model.parameters() if p.dim() == 1]}]
    )
    gate = control(model, cap("*", CAP)).attach(muon, rest)
    for step in range(10):
        muon.zero_grad()
        rest.zero_grad()
        loss_of(model, step).backward()
        muon.step()
        rest.step()
    assert gate.steps == 10
    assert max(norms(model)) <= 1.2 * CAP  # each of Muon's steps moves every singular value by up to 0.05


def test_a_second_gate_and_a_stranger_are_refused():
    model = mlp()
    _, optimizer = gated(model)
    with pytest.raises(UsageError, match="has a gate already"):
        control(model, cap("0", 1.0)).attach(optimizer)
    with pytest.raises(UsageError, match="holds no parameter of the gate's 3 sites, such as"):
        control(model, cap("*", 1.0)).attach(adam(mlp()))


def test_two_models_that_play_against_each_other():
    maker, judge = mlp(0), mlp(1)
    first, one = gated(maker)
    second, other = gated(judge, cap("*", 2 * CAP))
    judging = nn.Linear(4, 12)
    for step in range(6):
        other.zero_grad()
        loss_of(judge, step).backward()
        other.step()
        one.zero_grad()
        judge(judging(maker(INPUTS))).mean().backward()
        one.step()
    assert first.steps == second.steps == 6
    assert max(norms(maker)) <= 1.05 * CAP < max(norms(judge)) <= 2.1 * CAP


def test_compiled_equals_eager():
    eager, model = mlp(), mlp()
    compiled = torch.compile(model, backend="aot_eager")
    _, one = gated(eager)
    gate, other = gated(compiled, optimizer=adam(model))
    train(eager, one, 10)
    train(compiled, other, 10)
    assert gate.steps == 10
    for a, b in zip(weights(eager), weights(model), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6)


def test_a_model_recomputed_in_backward_is_trained_alike():
    plain, model = mlp(), mlp()
    _, one = gated(plain)
    _, other = gated(model)
    train(plain, one, 5)
    train(lambda x: checkpoint(model, x, use_reentrant=False), other, 5)
    assert_same(weights(plain), weights(model))


def test_a_copy_is_free():
    model = mlp()
    gate, optimizer = gated(model)
    train(model, optimizer, 2)
    other = copy.deepcopy(model)
    train(other, adam(other), 30)
    assert gate.steps == 2
    assert max(norms(other)) > 1.5 * CAP
    assert max(norms(model)) <= 1.05 * CAP


def test_a_poisoned_step_is_counted_and_survived():
    model = mlp()
    gate, optimizer = gated(model)
    train(model, optimizer, 3)
    good = copy.deepcopy(model.state_dict())
    states = copy.deepcopy(optimizer.state_dict())
    optimizer.zero_grad()
    loss_of(model).backward()
    model[2].weight.grad.fill_(float("nan"))
    optimizer.step()
    assert max(norms(nn.Sequential(model[0]))) <= 1.05 * CAP  # the others are held as ever
    model.load_state_dict(good)
    optimizer.load_state_dict(states)
    train(model, optimizer, 10)
    assert max(norms(model)) <= 1.05 * CAP
    assert gate.metrics()["opnorm/2.weight/skipped"] == 1
