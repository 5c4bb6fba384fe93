"""The gate as a user meets it: held while training, nothing else touched, proved at the end."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import opnorm


def network(seed=0, width=48):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5))


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(128, 16, generator=generator), torch.randint(0, 5, (128,), generator=generator)


def train(model, optimizer, steps, gate=None, seen=lambda: None):
    x, y = data()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        (loss if gate is None else loss + gate.penalty()).backward()
        optimizer.step()
        seen()
    return float(loss.detach())


def sigmas(model):
    return {
        n: np.linalg.svd(p.detach().double().numpy(), compute_uv=False)
        for n, p in model.named_parameters()
        if p.ndim == 2
    }


@pytest.fixture(autouse=True)
def _own_random_state():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.5, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 3e-3),
    "adamw foreach": lambda p: torch.optim.AdamW(p, 3e-3, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_cap_is_held_after_every_step(name):
    """With every=1 no step leaves a layer far above its cap, where plain training goes well beyond it."""
    plain, held = network(), network()
    train(plain, OPTIMIZERS[name](plain.parameters()), 150)
    assert max(s[0] for s in sigmas(plain).values()) > 1.8
    optimizer = OPTIMIZERS[name](held.parameters())
    gate = opnorm.control(held, opnorm.cap("*", 1.0)).attach(optimizer)
    worst = []
    train(held, optimizer, 150, seen=lambda: worst.append(max(s[0] for s in sigmas(held).values())))
    assert max(worst) < 1.1
    certificate = gate.finalize()
    assert certificate.holds
    assert max(s[0] for s in sigmas(held).values()) <= 1.0


def test_a_band_holds_both_ends_at_the_end():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    gate = opnorm.control(model, opnorm.band("*", 0.5, 2.0, every=5)).attach(optimizer)
    train(model, optimizer, 60)
    certificate = gate.finalize()
    for values in sigmas(model).values():
        assert values.max() <= 2.0 * (1 + 1e-4)
        assert values.min() >= 0.5 * (1 - 1e-4)
    assert certificate.holds


def test_orthogonal_layers_stay_orthogonal():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gate = opnorm.control(model, opnorm.orthogonalize("*", scale=1.5)).attach(optimizer)
    spread = []
    train(model, optimizer, 60, seen=lambda: spread.append(max(abs(s / 1.5 - 1).max() for s in sigmas(model).values())))
    assert max(spread) < 0.05
    gate.finalize()
    assert all(abs(s / 1.5 - 1).max() < 1e-5 for s in sigmas(model).values())


def test_nothing_but_values_changes():
    model, twin = network(), network()
    optimizer, other = (torch.optim.Adam(m.parameters(), 3e-3) for m in (model, twin))
    names, identities = list(model.state_dict()), [id(p) for p in model.parameters()]
    opnorm.control(model, [opnorm.cap("2", 1.0), opnorm.watch()]).attach(optimizer)
    train(model, optimizer, 5)
    train(twin, other, 5)
    assert list(model.state_dict()) == names
    assert [id(p) for p in model.parameters()] == identities
    assert not list(model.buffers())
    mine, theirs = optimizer.state_dict(), other.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    assert {k: sorted(v) for k, v in mine["state"].items()} == {k: sorted(v) for k, v in theirs["state"].items()}


@pytest.mark.parametrize("rule", [opnorm.cap("*", 50.0), opnorm.watch(every=1), opnorm.cap("*", 1e6, method="scale")])
def test_a_gate_that_need_not_act_leaves_training_as_it_is_bit_by_bit(rule):
    model, twin = network(), network()
    optimizer, other = (torch.optim.Adam(m.parameters(), 3e-3) for m in (model, twin))
    opnorm.control(model, rule).attach(optimizer)
    random = torch.get_rng_state()
    train(model, optimizer, 20)
    assert torch.equal(random, torch.get_rng_state())
    train(twin, other, 20)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_clipping_keeps_more_than_scaling():
    """What clipping is for: directions below the ceiling keep their size."""
    ranks = {}
    for method in ("clip", "scale"):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        opnorm.control(model, opnorm.cap("*", 1.0, method=method)).attach(optimizer)
        train(model, optimizer, 200)
        values = sigmas(model)["2.weight"]
        ranks[method] = (values**2).sum() / values.max() ** 2
    assert ranks["clip"] > 1.5 * ranks["scale"]


def test_sites_take_turns():
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    gate = opnorm.control(model, opnorm.cap("*", 1e-3), every=4)
    moved = []
    with torch.no_grad():
        for _ in range(20):
            for layer in model:
                layer.weight.copy_(torch.eye(8))
            gate.step()
            moved.append(sum(float(layer.weight.norm()) < 1 for layer in model))
    assert moved == [4] * 8 + [1] * 12


def test_a_budget_lengthens_the_intervals_until_the_moves_fit():
    clock = opnorm.constraint.cadence.Clock(budget=0.1)
    now = 0.0
    for _ in range(25):
        clock.lap(now, now + 0.4)
        now += 1.4
    assert clock.settled
    assert clock.stretch == 4


def test_a_warmup_brings_the_ceiling_down():
    model = network()
    with torch.no_grad():
        model[2].weight.mul_(8 / sigmas(model)["2.weight"][0])
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    opnorm.control(model, opnorm.cap("2", 2.0), warmup=opnorm.anneal(20)).attach(optimizer)
    tops = []
    train(model, optimizer, 30, seen=lambda: tops.append(sigmas(model)["2.weight"][0]))
    expected = [8 * (1 / 4) ** (min(i, 20) / 20) for i in range(30)]
    assert tops == pytest.approx(expected, rel=0.02)


def test_a_penalty_pulls_down_what_is_above_and_nothing_else():
    model, twin = network(), network()
    for m, weight in ((model, 1.0), (twin, 0.0)):
        optimizer = torch.optim.Adam(m.parameters(), 3e-3)
        gate = opnorm.control(m, opnorm.penalize("2", above=1.0, weight=weight)).attach(optimizer)
        train(m, optimizer, 150, gate)
    assert sigmas(model)["2.weight"][0] < 0.75 * sigmas(twin)["2.weight"][0]
    quiet = opnorm.control(network(), opnorm.penalize("2", above=100.0))
    assert quiet.penalty().item() == 0.0
    assert opnorm.control(network(), opnorm.cap("2", 1.0)).penalty().item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_finalize_proves_what_is_stored(dtype):
    model = network()
    gate = opnorm.control(
        model, [opnorm.cap("0", 0.3), opnorm.cap("2", 0.7, norm="rms"), opnorm.cap("4", 0.5, split=5)]
    )
    certificate = gate.finalize(dtype=dtype)
    assert all(p.dtype == dtype for p in model.parameters())
    assert certificate.holds
    assert max(s[0] for s in (sigmas(model)["0.weight"],)) <= 0.3
    assert sigmas(model)["2.weight"][0] <= 0.7 * math.sqrt(48 / 48)
    for row in model[4].weight.detach().double():
        assert row.norm() <= 0.5
    assert certificate.verify(model)
    with torch.no_grad():
        model[0].weight[0, 0] += 0.25
    assert not certificate.verify(model)


def test_finalize_of_a_weight_that_is_not_finite_names_it_and_changes_nothing():
    model = network()
    with torch.no_grad():
        model[4].weight[0, 0] = math.nan
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(opnorm.UndefinedNorm, match=r"4\.weight"):
        opnorm.control(model, opnorm.cap("*", 0.1)).finalize(dtype=torch.bfloat16)
    assert all(torch.equal(v.nan_to_num(), before[k].nan_to_num()) for k, v in model.state_dict().items())


def test_finalize_of_a_moving_average():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    gate = opnorm.control(model, opnorm.cap("*", 1.0)).attach(optimizer)
    train(model, optimizer, 40, seen=lambda: average.update_parameters(model))
    before = copy.deepcopy(model.state_dict())
    certificate = gate.finalize(model=average.module)
    assert certificate.holds
    assert max(s[0] for s in sigmas(average.module).values()) <= 1.0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_frozen_layers_are_not_moved():
    model = network()
    model[2].weight.requires_grad_(False)
    before = model[2].weight.clone()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    gate = opnorm.control(model, opnorm.cap("*", 0.1)).attach(optimizer)
    train(model, optimizer, 5)
    assert torch.equal(model[2].weight, before)
    with pytest.raises(opnorm.OpnormError, match=r"2\.weight.*frozen"):
        gate.finalize()


def test_a_second_gate_and_a_strange_optimizer_are_refused():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    first = opnorm.control(model, opnorm.cap("0", 1.0)).attach(optimizer)
    second = opnorm.control(model, opnorm.cap("2", 1.0))
    with pytest.raises(opnorm.UsageError, match="has a gate already"):
        second.attach(optimizer)
    first.detach()
    second.attach(optimizer)
    with pytest.raises(opnorm.UsageError, match=r"holds no parameter.*0\.weight"):
        first.attach(torch.optim.SGD(network().parameters(), 0.1))


def test_the_state_of_another_gate_is_refused_by_name():
    model = network()
    state = opnorm.control(model, opnorm.cap("0", 1.0)).state_dict()
    with pytest.raises(opnorm.UsageError, match=r"no state for: 2\.weight"):
        opnorm.control(model, opnorm.cap(("0", "2"), 1.0)).load_state_dict(state)
    with pytest.raises(opnorm.UsageError, match=r"sites that this gate lacks: 0\.weight"):
        opnorm.control(model, opnorm.cap("2", 1.0)).load_state_dict(state)
    with pytest.raises(opnorm.UsageError, match=r"other shapes or techniques of: 0\.weight"):
        opnorm.control(network(width=24), opnorm.cap("0", 1.0)).load_state_dict(state)
    with pytest.raises(opnorm.UsageError, match="no state of a gate"):
        opnorm.control(model, opnorm.cap("0", 1.0)).load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": 0}, "every=0"),
        ({"budget": 0.0}, "budget=0.0"),
        ({"budget": 2}, "budget=2"),
        ({"rules": []}, "are none"),
        ({"rules": "cap"}, "are none"),
    ],
)
def test_options_that_cannot_be_meant(options, says):
    with pytest.raises(opnorm.UsageError, match=says):
        opnorm.control(network(), **{"rules": opnorm.cap("*", 1.0), **options})


def test_several_optimizers_share_a_gate():
    model = network()
    first = torch.optim.SGD(model[0].parameters(), 0.5)
    second = torch.optim.Adam([*model[2].parameters(), *model[4].parameters()], 3e-3)
    gate = opnorm.control(model, opnorm.cap("*", 1.0)).attach(first, second)
    x, y = data()
    for _ in range(30):
        nn.functional.cross_entropy(model(x), y).backward()
        first.step()
        second.step()
        model.zero_grad()
    assert gate.steps == 30
    assert max(s[0] for s in sigmas(model).values()) < 1.1


def test_the_loss_jump_of_a_projection_is_the_change_of_the_loss():
    model = network()
    gate = opnorm.control(model, opnorm.cap("*", 0.2))
    x, y = data()
    before = nn.functional.cross_entropy(model(x), y).item()
    jump = gate.loss_jump(lambda: nn.functional.cross_entropy(model(x), y))
    assert jump == pytest.approx(nn.functional.cross_entropy(model(x), y).item() - before, abs=1e-6)
    assert jump != 0


def test_copying_a_model_leaves_its_gate_behind():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    opnorm.control(model, opnorm.cap("*", 1.0)).attach(optimizer)
    twin = copy.deepcopy(model)
    train(model, optimizer, 3)
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_kernel_is_given_no_stable_rank():
    """Its Frobenius norm is not that of the operator, which repeats it."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 16))
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    gate = opnorm.control(model, opnorm.cap("*", 0.5)).attach(optimizer)
    for _ in range(3):
        model(torch.ones(1, 2, 4, 4)).square().sum().backward()
        optimizer.step()
    ranks = {name.split("/")[1]: value for name, value in gate.metrics().items() if name.endswith("stable_rank")}
    assert list(ranks) == ["2.weight"]
    assert ranks["2.weight"] >= 0.99
