"""What outlives a step: resumed runs, moving averages, and adapters beside the base they were made for."""

import io

import pytest
import torch
from adapters import Linear as Adapted
from loops import CAP, INPUTS, adam, assert_same, gated, mlp, norms, train, weights
from torch.optim.swa_utils import AveragedModel, update_bn

from opnorm.constraint.rules import band, cap, orthogonalize, penalize, watch
from opnorm.constraint.schedule import anneal

RESUMED = [
    [cap("*", CAP, every=3)],
    [cap("0", CAP), band("2", 0.2, CAP, every=2), orthogonalize("4", 0.5, every=5)],
    [cap("0", CAP), penalize("2", above=0.1, weight=0.1), watch("4", every=4)],
]


@pytest.mark.parametrize("rules", RESUMED)
def test_resume_is_bit_exact(rules):
    def start():
        model = mlp()
        return model, *gated(model, *rules, warmup=anneal(12), every=2)

    whole, gate, optimizer = start()
    train(whole, optimizer, 20, gate=gate)
    model, gate, optimizer = start()
    train(model, optimizer, 9, gate=gate)
    file = io.BytesIO()
    torch.save({"m": model.state_dict(), "o": optimizer.state_dict(), "g": gate.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model, gate, optimizer = start()
    model.load_state_dict(saved["m"])
    optimizer.load_state_dict(saved["o"])
    gate.load_state_dict(saved["g"])
    train(model, optimizer, 11, start=9, gate=gate)
    assert gate.steps == 20
    assert_same(weights(whole), weights(model))


def test_a_saved_state_does_not_move_with_the_run():
    model = mlp()
    gate, optimizer = gated(model)
    train(model, optimizer, 3)
    file, again = io.BytesIO(), io.BytesIO()
    state = gate.state_dict()
    torch.save(state, file)
    train(model, optimizer, 3)
    torch.save(state, again)
    assert file.getvalue() == again.getvalue()


def test_moving_averages_stay_under_a_cap_and_are_finished_by_themselves():
    model = mlp()
    gate, optimizer = gated(model)
    average = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    swa = AveragedModel(model)
    for step in range(15):
        train(model, optimizer, 1, start=step)
        average.update_parameters(model)
        swa.update_parameters(model)
    update_bn([INPUTS], swa)
    before = weights(model)
    for averaged in (average, swa):
        certificate = gate.finalize(model=averaged)
        assert certificate.holds
        assert [row.name for row in certificate.rows] == ["0.weight", "2.weight", "4.weight"]
        assert max(norms(averaged.module)) <= CAP
    assert_same(before, weights(model))


def adapted(seed=0):
    model = mlp(seed)
    model.requires_grad_(False)
    with torch.no_grad():
        for place in (0, 2):
            model[place].weight.mul_(0.5 / torch.linalg.matrix_norm(model[place].weight, 2))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model[0], model[2] = Adapted(model[0], 3, 6), Adapted(model[2], 3, 6)
    return model


def sums(model):
    parts = [
        (m.base_layer.weight, m.lora_B["default"].weight, m.lora_A["default"].weight) for m in (model[0], model[2])
    ]
    return [float(torch.linalg.matrix_norm((w + 2 * b @ a).detach().double(), 2)) for w, b, a in parts]


def test_adapters_are_capped_with_their_base_which_stays():
    free, model = adapted(), adapted()
    train(free, adam(free, 1e-2), 30)
    assert min(sums(free)) > 1.2 * CAP
    bases = model[0].base_layer.weight.clone(), model[2].base_layer.weight.clone()
    gate, optimizer = gated(model, cap(["0", "2"], CAP), optimizer=adam(model, 1e-2))
    assert [h.site.name for h in gate.held] == ["0[W + s·B·A]", "2[W + s·B·A]"]
    worst = 0.0
    for step in range(30):
        train(model, optimizer, 1, start=step)
        worst = max(worst, *sums(model))
    assert worst <= 1.02 * CAP
    assert min(sums(model)) > 0.95 * CAP
    assert_same(bases, (model[0].base_layer.weight, model[2].base_layer.weight))


def test_adapters_are_proved_at_the_end():
    model = adapted()
    gate, optimizer = gated(model, cap(["0", "2"], CAP), optimizer=adam(model, 1e-2))
    train(model, optimizer, 10)
    certificate = gate.finalize()
    assert certificate.holds
    assert max(sums(model)) <= CAP
