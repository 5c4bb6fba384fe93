"""What a user may give by mistake: one message that names it, and nothing built or moved."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import opnorm
from opnorm.constraint.given import optimizers_given
from opnorm.constraint.schedule import at, piecewise

CAP = opnorm.cap("*", 1.0)


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5), nn.BatchNorm1d(5))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rules": 2.0}, "rules=2.0 are none"),
        ({"rules": {"*": 1.0}}, "rules=<dict> are none"),
        ({"warmup": 100}, "warmup=100 is not possible; give opnorm.anneal"),
        ({"budget": "8%"}, "budget='8%' is not possible"),
        ({"budget": True}, "budget=True is not possible"),
        ({"seed": "a"}, "seed='a' is not possible"),
        ({"exclude": nn.Linear(2, 2)}, "exclude=<Linear> is not possible"),
        ({"exclude": "2.wieght"}, "exclude: the pattern '2.wieght' matches no layer; nearest: 2.weight"),
        ({"exclude": nn.LSTM}, "exclude: no layer is of type LSTM"),
        ({"input_shape": (8, 8)}, "the model could not be run at it"),
    ],
)
def test_of_control(model, given, says):
    with pytest.raises(opnorm.UsageError) as caught:
        opnorm.control(model, **{"rules": CAP, **given})
    assert says in str(caught.value)


def test_a_shape_that_fits_and_rules_from_a_generator_are_taken(model):
    gate = opnorm.control(model, (opnorm.cap(name, 1.0) for name in ("0", "2")), input_shape=(3, 8, 8))
    assert gate.held[0].site.input_shape == (3, 8, 8)


@pytest.mark.parametrize("given", [lambda m: m.state_dict(), lambda m: m.parameters(), lambda m: CAP, lambda m: None])
def test_what_is_no_model(model, given):
    with pytest.raises(opnorm.UsageError, match=r"is no torch\.nn\.Module"):
        opnorm.control(given(model), CAP)


def test_a_parametrization_needs_a_module():
    with pytest.raises(opnorm.UsageError, match=r"<str> is no torch\.nn\.Module"):
        opnorm.normalize("fc", cap=1.0)


def test_messages_of_rules_never_print_a_weight(model):
    for wrong in (lambda: opnorm.cap(model[2].weight, 1.0), lambda: opnorm.cap("*", model[2].weight)):
        with pytest.raises(opnorm.UsageError) as caught:
            wrong()
        assert "<Parameter>" in str(caught.value)
        assert len(str(caught.value)) < 200
    with pytest.raises(opnorm.UsageError, match="max must be a number"):
        opnorm.cap("*", "2")
    assert opnorm.cap("*", np.float32(2)).hi == 2


def test_of_attach(model):
    gate, optimizer = opnorm.control(model, CAP), torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(opnorm.UsageError, match="got no optimizer"):
        gate.attach()
    for wrong in (model, [optimizer], torch.optim.lr_scheduler.StepLR(optimizer, 1)):
        with pytest.raises(opnorm.UsageError, match=r"is no torch\.optim\.Optimizer"):
            gate.attach(wrong)
    wrapped = type("Wrapper", (), {"optimizer": optimizer})()
    assert optimizers_given([wrapped]) == (optimizer,)


@pytest.mark.parametrize("attached", [False, True])
def test_parameters_replaced_since(model, attached):
    gate, optimizer = opnorm.control(model, CAP), torch.optim.SGD(model.parameters(), lr=0.1)
    if attached:
        gate.attach(optimizer)
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    with pytest.raises(opnorm.UsageError, match="another parameter there than when the gate was made"):
        optimizer.step() if attached else gate.attach(optimizer)


def test_a_model_that_is_moved_after_attaching_is_held(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gate = opnorm.control(model, opnorm.cap("2", 0.1)).attach(optimizer)
    model.double()
    model[2].weight.grad = torch.zeros_like(model[2].weight)
    optimizer.step()
    assert torch.linalg.svdvals(model[2].weight.detach())[0] < 0.11
    assert gate.steps == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dtype": "bfloat16"}, "dtype='bfloat16'"),
        ({"dtype": torch.int8}, "dtype=torch.int8"),
        ({"width": -1}, "width=-1"),
        ({"model": {}}, "is no torch.nn.Module"),
    ],
)
def test_of_finalize(model, given, says):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(opnorm.UsageError) as caught:
        opnorm.control(model, CAP).finalize(**given)
    assert says in str(caught.value)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_a_state_without_its_parts(model):
    with pytest.raises(opnorm.UsageError, match="no state of a gate"):
        opnorm.control(model, CAP).load_state_dict({"format": 1})


def test_of_schedules():
    for wrong in ({0: "a"}, [1, 2], {0.5: 1.0, 0: 1.0}):
        with pytest.raises(opnorm.UsageError, match="such as"):
            piecewise(wrong)

    def ramp(step):
        return None if step else 1.0

    assert at(ramp, 0) == 1.0
    with pytest.raises(opnorm.UsageError, match="ramp gave None for step 3"):
        at(ramp, 3)


def test_a_parametrized_layer_says_why(model):
    torch.nn.utils.parametrizations.spectral_norm(model[2])
    with pytest.raises(opnorm.UsageError, match="made by a parametrization"):
        opnorm.control(model, opnorm.cap("2", 1.0))


def test_a_report_names_what_waits_and_what_is_frozen(model):
    gate = opnorm.control(model, CAP)
    assert "2 layers wait for a first step" in " ".join(str(gate.report()).split())
    model[2].requires_grad_(False)
    gate.step()
    text = str(gate.report())
    assert "it is frozen" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_certificate_of_watched_layers_asks_nothing(model):
    text = str(opnorm.control(model, [opnorm.watch("0"), opnorm.cap("2", 9.0)]).finalize())
    assert "1 of 1 weights PROVED within what was asked; 0 moved. 1 measured, with nothing asked." in text
    assert "inf" not in text
    assert "before" not in text
