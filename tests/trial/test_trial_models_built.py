"""Built-in models: shapes, starts, depths, and that every weight is one that spectral techniques can hold."""

from __future__ import annotations

import pytest
import torch

import opnorm
from opnorm.experiment.models import DEFAULTS, MODELS, build
from opnorm.experiment.models.model import Inputs, Shape

SHAPES = {
    Inputs.TABLE: ((7,), torch.zeros(5, 7)), Inputs.SERIES: ((2, 33), torch.zeros(5, 2, 33)),
    Inputs.IMAGE: ((3, 9, 11), torch.zeros(5, 3, 9, 11)),
    Inputs.TOKENS: ((16,), torch.zeros(5, 16, dtype=torch.int64)),
}  # fmt: skip
PAIRS = [(m.name, kind) for m in MODELS.values() for kind in sorted(m.takes)]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize("condition", ["full", "deep"])
def test_outputs_have_the_shape_of_the_targets(name: str, kind: Inputs, condition: str) -> None:
    inputs, batch = SHAPES[kind]
    places = (16,) if kind is Inputs.TOKENS else ()
    assert build(name, Shape(inputs, 4), condition, 0)(batch).shape == (5, *places, 4)
    if kind is not Inputs.TOKENS:
        assert build(name, Shape(inputs, 1, values=True), condition, 0)(batch).shape == (5,)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_deep_has_twice_the_hidden_layers(name: str, kind: Inputs) -> None:
    def layers(condition: str) -> int:
        model = build(name, Shape(SHAPES[kind][0], 4), condition, 0)
        weighty = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
        return sum(isinstance(m, weighty) for m in model.modules()) - 1

    assert layers("deep") == 2 * layers("full")
    assert layers("full") == MODELS[name].depth * (6 if name == "charlm" else 1)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_start_follows_from_the_seed_alone(name: str, kind: Inputs) -> None:
    shape = Shape(SHAPES[kind][0], 4)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = build(name, shape, "full", 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    for again, same in ((build(name, shape, "full", 3), True), (build(name, shape, "full", 4), False)):
        pairs = zip(first.parameters(), again.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs if a.dim() > 1 and a.unique().numel() > 1) == same


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_matrix_and_kernel_can_be_capped(name: str, kind: Inputs) -> None:
    model = build(name, Shape(SHAPES[kind][0], 4), "full", 0)
    layers = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
    present = tuple({type(m) for m in model.modules() if isinstance(m, layers)})
    gate = opnorm.control(model, opnorm.cap(present, 0.5))
    assert len(gate.held) == sum(isinstance(m, layers) for m in model.modules())
    assert not any("BatchNorm" in type(m).__name__ for m in model.modules())


def test_each_kind_of_input_has_a_usual_model_that_takes_it() -> None:
    assert set(DEFAULTS) == set(Inputs)
    assert all(kind in MODELS[name].takes for kind, name in DEFAULTS.items())


def test_a_character_is_never_seen_before_its_turn_and_has_second_derivatives() -> None:
    model = build("charlm", Shape((16,), 9), "full", 0)
    tokens = torch.randint(0, 9, (1, 16), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, 10] = (other[0, 10] + 1) % 9
    moved = (model(tokens) - model(other)).abs().amax(-1)[0]
    assert moved[:10].max() == 0
    assert moved[10:].min() > 0
    loss = model(tokens).square().sum()
    (slope,) = torch.autograd.grad(loss, model.logits.weight, create_graph=True)
    slope.square().sum().backward()
    assert model.blocks[0].attention.query.weight.grad.abs().sum() > 0
