"""Each arm does to a model what it says, judged by SVD and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trial_training_subjects import Planted, design, mlp

from opnorm.errors import UsageError
from opnorm.experiment.arms import ARMS, arm_of
from opnorm.experiment.arms.arm import Applied
from opnorm.experiment.arms.dropout import hidden
from opnorm.experiment.arms.weights import left_out, norms, weights_of
from opnorm.experiment.subject import Split
from opnorm.experiment.training.loop import train
from opnorm.experiment.training.seeds import isolated, one_thread

SPLIT: Split = Planted(examples=96).split(0, "full")


def start() -> torch.nn.Module:
    """Norms of about 3.5, 2.9 and 2.2: above every ceiling used here."""
    torch.manual_seed(0)
    model = mlp(8, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


def trained(name: str, model: torch.nn.Module | None = None, epochs: int = 4, **setting: float) -> torch.nn.Module:
    with isolated(0), one_thread():
        applied = arm_of(name).start(setting, 0)
        model = applied.prepare(start() if model is None else model)
        train(model, SPLIT, applied, design(epochs=epochs), Planted.task, (), 0)
        return applied.finish(model).eval()


def term(applied: Applied, model: torch.nn.Module) -> float:
    return float(torch.as_tensor(applied.penalty(model, torch.zeros(1, 8))).detach())


def values(model: torch.nn.Module) -> list[np.ndarray]:
    """Singular values in float64, by NumPy."""
    return [np.linalg.svd(p.detach().double().numpy(), compute_uv=False) for p in model.parameters() if p.ndim == 2]


@pytest.mark.parametrize("name", [name for name in ARMS if name != "same_norm"] + ["cap+l2", "dropout+l1+normalize"])
def test_what_comes_out_is_a_plain_model(name: str) -> None:
    model = trained(name, epochs=2)
    plain = mlp(8, 2)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [type(m) for m in model.modules()] == [type(m) for m in plain.modules()]
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert all(p.is_leaf and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    plain.load_state_dict(model.state_dict())
    inputs = torch.from_numpy(SPLIT.test.inputs)
    assert torch.equal(plain.eval()(inputs), model(inputs))


@pytest.mark.parametrize(
    ("name", "setting"), [("cap", {"cap": 1.3}), ("normalize", {"ceiling": 1.3}), ("cap+l2", {"cap": 1.3})]
)
def test_ceilings_hold_in_every_layer_the_last_too(name: str, setting: dict[str, float]) -> None:
    tops = [s[0] for s in values(trained(name, **setting))]
    assert max(tops) <= 1.3
    assert max(tops) > 1.29  # and are reached


def test_a_free_ceiling_changes_nothing() -> None:
    free, plain = trained("cap", cap=50.0), trained("none")
    assert all(torch.equal(a, b) for a, b in zip(free.parameters(), plain.parameters(), strict=True))


def test_a_band_holds_every_singular_value() -> None:
    for found in values(trained("band", low=0.4, high=1.2)):
        assert found[0] <= 1.2
        assert found[-1] >= 0.4


def test_orthogonal_weights_are() -> None:
    for found in values(trained("orthogonal", scale=1.5)):
        np.testing.assert_allclose(found, 1.5, rtol=2e-6)


def test_torch_spectral_norm_is_near_its_factor() -> None:
    for found in values(trained("torch_spectral_norm", factor=1.5, epochs=8)):
        assert found[0] == pytest.approx(1.5, rel=0.1)


def test_torch_spectral_norm_by_hand_gives_the_same_training() -> None:
    from torch.nn.utils import parametrizations

    with isolated(0):
        by_hand = start()
        torch.manual_seed(0)
        for layer in (by_hand[0], by_hand[2], by_hand[4]):
            parametrizations.spectral_norm(layer)
        train(by_hand, SPLIT, arm_of("none").start({}, 0), design(epochs=3), Planted.task, (), 0)
        by_hand.eval()
    arm = trained("torch_spectral_norm", epochs=3, factor=1.0)
    inputs = torch.from_numpy(SPLIT.test.inputs)
    torch.testing.assert_close(arm(inputs), by_hand(inputs), rtol=1e-5, atol=1e-6)


def test_weight_decay_shrinks_as_the_optimizer_says() -> None:
    """With a learning rate too small to learn, decay 1 − lr·decay a step is all that is left."""
    model = trained("l2", epochs=2, decay=10.0, rate=1e-3)
    steps = 2 * 3
    for a, b in zip(model.parameters(), start().parameters(), strict=True):
        torch.testing.assert_close(a, b * (1 - 3e-6 * 10) ** steps, rtol=1e-4, atol=3e-5)


def test_l1_makes_weights_small() -> None:
    def small(model: torch.nn.Module) -> float:
        entries = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim == 2])
        return float((entries.abs() < 1e-2).double().mean())

    plain, sparse = trained("none", epochs=40, rate=3.0), trained("l1", epochs=40, rate=3.0, l1=1e-2)
    assert small(sparse) > 0.5 > 4 * small(plain)


def test_l1_is_the_sum_of_absolute_weights() -> None:
    model = start()
    applied = arm_of("l1").start({"l1": 0.5}, 0)
    applied.prepare(model)
    wanted = 0.5 * sum(np.abs(p.detach().numpy()).sum(dtype=np.float64) for p in model.parameters() if p.ndim == 2)
    assert term(applied, model) == pytest.approx(wanted, rel=1e-5)


def test_penalty_is_the_hinge_and_nothing_below() -> None:
    model = start()
    wanted = sum((np.maximum(s[:4] - 1.0, 0) ** 2).sum() for s in values(model))
    applied = arm_of("penalty").start({"penalty": 0.1, "above": 1.0}, 0)
    assert float(torch.as_tensor(applied.penalty(model, torch.zeros(1, 8))).detach()) == pytest.approx(
        0.1 * wanted, rel=1e-3
    )
    free = arm_of("penalty").start({"penalty": 0.1, "above": 9.0}, 0)
    loss = free.penalty(model, torch.zeros(1, 8))
    assert isinstance(loss, torch.Tensor)
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_jacobian_penalty_flattens_and_is_unbiased() -> None:
    inputs = torch.from_numpy(SPLIT.test.inputs)

    def slope(model: torch.nn.Module) -> float:
        jacobians = torch.func.vmap(torch.func.jacrev(model))(inputs)
        return float(jacobians.detach().square().sum((1, 2)).mean())

    model = start().eval()
    applied = arm_of("jacobian").start({"jacobian": 0.5}, 0)
    drawn = [float(torch.as_tensor(applied.penalty(model, inputs)).detach()) for _ in range(60)]
    seen = np.mean(drawn)  # each an average over 100 examples
    assert seen == pytest.approx(0.5 * slope(model), rel=0.05)
    assert slope(trained("jacobian", epochs=10, jacobian=0.3)) < 0.5 * slope(trained("none", epochs=10))


def test_jacobian_penalty_leaves_batch_statistics_alone() -> None:
    n = torch.nn
    model = n.Sequential(n.Linear(8, 4), n.BatchNorm1d(4), n.Linear(4, 2)).train()
    arm_of("jacobian").start({}, 0).penalty(model, torch.from_numpy(SPLIT.test.inputs))
    assert int(model[1].num_batches_tracked) == 0
    assert model[1].training


def test_jacobian_of_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="no derivative"):
        arm_of("jacobian").start({}, 0).penalty(start(), torch.zeros(2, 8, dtype=torch.int64))


def test_dropout_drops_after_hidden_activations_only_and_only_in_training() -> None:
    model = start()
    assert hidden(model) == [model[1], model[3]]
    applied = arm_of("dropout").start({"dropout": 0.25}, 3)
    applied.prepare(model)
    ones = torch.ones(200, 16)
    model.train()
    dropped = model[1](ones)
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.04)
    assert torch.equal(model[4](ones), torch.nn.functional.linear(ones, model[4].weight, model[4].bias))
    assert torch.equal(model.eval()[1](ones), ones)


class Functional(torch.nn.Module):
    """Activations as functions, a recurrent layer, named parts."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(10, 8)
        self.cell = torch.nn.GRU(8, 8, batch_first=True)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.cell(self.tokens(inputs))[0]))


def test_a_model_without_activation_modules_drops_after_hidden_layers() -> None:
    model = Functional()
    assert hidden(model) == [model.cell]
    applied = arm_of("dropout").start({"dropout": 0.5}, 0)
    applied.prepare(model)
    assert model(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 10)
    out, state = model.train().cell(torch.randn(50, 5, 8))
    assert float((out == 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert state.shape == (1, 50, 8)


def test_each_gate_of_a_recurrent_layer_is_held() -> None:
    model = Functional()
    with torch.no_grad():
        model.cell.weight_hh_l0.mul_(5)
    before = model.tokens.weight.clone()
    arm_of("cap").start({"cap": 0.9}, 0).finish(model)
    gates = [
        g.detach().double().numpy() for w in (model.cell.weight_ih_l0, model.cell.weight_hh_l0) for g in w.chunk(3)
    ]
    assert max(np.linalg.norm(g, 2) for g in gates) <= 0.9
    assert torch.equal(before, model.tokens.weight)


def test_embeddings_are_not_held_and_said_so() -> None:
    model = Functional()
    assert {w.tensor for w in weights_of(model)} == {"cell.weight_ih_l0", "cell.weight_hh_l0", "head.weight"}
    assert "tokens.weight (an embedding looks up rows)" in left_out(model)[0]
    assert ARMS["cap"].remarks(model) == left_out(model)
    assert "cell.weight_hh_l0, cell.weight_ih_l0" in ARMS["normalize"].remarks(model)[0]
    assert left_out(start()) == ()


def test_a_linear_model_has_nothing_to_drop() -> None:
    model = torch.nn.Linear(8, 2)
    assert "no hidden layer" in ARMS["dropout"].remarks(model)[0]
    assert torch.equal(trained("dropout", torch.nn.Linear(8, 2), 1).weight != 0, torch.ones(2, 8, dtype=torch.bool))


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="no weight that a spectral arm could hold"):
        weights_of(torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.LayerNorm(3)))


def kernels() -> torch.nn.Module:
    n = torch.nn
    torch.manual_seed(0)
    model = n.Sequential(
        n.Unflatten(1, (1, 8)), n.Conv1d(1, 6, 3, padding=1), n.ReLU(), n.Conv1d(6, 6, 3, stride=2), n.ReLU(),
        n.Flatten(), n.Linear(18, 2),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def dense(convolution: torch.nn.Module, channels: int, size: int) -> np.ndarray:
    """The matrix of a convolution without its bias, column by column."""
    basis = torch.eye(channels * size).reshape(-1, channels, size)
    with torch.no_grad():
        return (convolution(basis) - convolution(0 * basis)).flatten(1).T.double().numpy()


@pytest.mark.parametrize(
    ("name", "setting"),
    [("cap", {"cap": 1.1}), ("normalize", {"ceiling": 1.1}), ("band", {"low": 0.1, "high": 1.1}),
     ("orthogonal", {"scale": 1.1})],
)  # fmt: skip
def test_convolutions_are_held_as_operators(name: str, setting: dict[str, float]) -> None:
    model = trained(name, kernels(), 2, **setting)
    assert np.linalg.norm(dense(model[1], 1, 40), 2) <= 1.1
    assert np.linalg.norm(dense(model[3], 6, 40), 2) <= 1.1
    assert np.linalg.norm(dense(model[3], 6, 40), 2) > 1.0
    assert any("no floor" in note for note in ARMS[name].remarks(model)) == (name in ("band", "orthogonal"))


def test_norms_of_the_curve_are_those_of_the_operators() -> None:
    model = kernels()
    found = norms(model, weights_of(model))
    assert found["6.weight"] == pytest.approx(np.linalg.norm(model[6].weight.detach().numpy(), 2), rel=1e-5)
    assert found["1.weight"] == pytest.approx(np.linalg.norm(dense(model[1], 1, 60), 2), rel=0.01)
    assert found["3.weight"] == pytest.approx(np.linalg.norm(dense(model[3], 6, 60), 2), rel=0.01)
