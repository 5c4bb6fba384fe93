"""Models whose rows would be silently wrong if modules were taken for what they look like."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from live import assert_brackets, jacobian, norm, rows_of


class Own(nn.Module):
    """A matrix whose use nobody knows, between a known layer's names."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        return 100 * torch.relu(x @ self.weight)


def test_a_matrix_of_unknown_use_is_not_folded():
    rows = rows_of(nn.Sequential(Own(), nn.BatchNorm1d(3)), (3,))
    assert not [name for name in rows if "folded" in name]


@pytest.mark.parametrize("shape", [(4,), (5, 4)])
def test_a_batch_norm_over_another_axis_than_the_outputs_is_not_folded(shape):
    """On (batch, 5, 4) it scales positions: diag(s)·W would be a matrix of the right size and the wrong axis."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double().eval()
    model[1].running_var.copy_(torch.linspace(0.1, 2, 5))
    rows = rows_of(model, shape)
    assert ("0[1 folded]" in rows) == (shape == (4,))
    if shape == (4,):
        assert_brackets(rows["0[1 folded]"], norm(jacobian(model, 4)))


@pytest.mark.parametrize(("place", "before"), [("0", False), ("0.0", False), ("1", False), ("1", True), ("2", True)])
def test_hooks_between_a_layer_and_its_batch_norm_forbid_the_fold(place, before):
    """Wherever it sits between them: on the layer, on what is around it, on an Identity, on the BatchNorm."""
    model = nn.Sequential(nn.Sequential(nn.Conv1d(2, 2, 3)), nn.Identity(), nn.BatchNorm1d(2), nn.ReLU())
    module = model.get_submodule(place)
    if before:
        module.register_forward_pre_hook(lambda module, args: (args[0] * 10,))
    else:
        module.register_forward_hook(lambda module, args, result: result * 10)
    assert "0.0[2 folded]" not in rows_of(model, (2, 8))
    for inner in model.modules():
        inner._forward_hooks.clear()
        inner._forward_pre_hooks.clear()
    assert "0.0[2 folded]" in rows_of(model, (2, 8))


def test_hooks_elsewhere_do_not():
    model = nn.Sequential(nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2), nn.ReLU())
    model[2].register_forward_hook(lambda module, args, result: result * 10)
    rows = rows_of(model, (2, 8))
    assert "0[1 folded]" in rows
    assert rows["0.weight"].reason == "the size without the hooks of 2"


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T


def test_one_memory_behind_several_computed_weights_is_measured_for_each():
    torch.manual_seed(0)
    model = nn.ModuleDict({name: nn.Linear(3, 3, bias=False) for name in "abc"})
    parametrize.register_parametrization(model["a"], "weight", Symmetric())
    model["b"].weight = model["a"].parametrizations.weight.original
    model["c"].weight = model["b"].weight
    model["d"] = model["a"]
    rows = rows_of(model)
    for name in "abcd":
        assert_brackets_any(rows[f"{name}.weight"], norm(model[name].weight.detach()))
    assert rows["a.weight"].lower != rows["b.weight"].lower
    assert rows["c.weight"].reason == "tied: the same tensor as b.weight, counted once"
    assert rows["d.weight"].reason == "tied: the same tensor as a.weight, counted once"


def assert_brackets_any(row, truth):
    assert row.lower <= truth * (1 + 1e-6)
    assert truth <= row.upper * (1 + 1e-6)


def test_an_attribute_that_hides_a_parameter():
    model = nn.ModuleDict({"a": nn.Linear(3, 3)})
    vars(model["a"])["weight"] = torch.full((3, 3), 7.0)
    assert "overrides weight of Linear" in rows_of(model)["a.weight"].reason


def test_circular_padding_is_what_the_module_applies():
    """torch pads by what it computed when the module was made, whatever `padding` says since."""
    torch.manual_seed(0)
    conv = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    conv.padding = (0,)
    row = rows_of(nn.ModuleDict({"a": conv, "b": nn.Identity()}))["a.weight"]
    assert "padding (1, 1), padding mode circular" in row.operator
    traced = rows_of(nn.Sequential(conv), (1, 6))["0.weight"]
    assert_brackets(traced, norm(jacobian(conv, 1, 6)))


def test_memory_that_was_given_back_is_not_read():
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(2, 2)})
    model["a"].weight.untyped_storage().resize_(0)
    rows = rows_of(model)
    assert rows["a.weight"].status == "refused"
    assert "gather or load the weights first" in rows["a.weight"].reason
    assert rows["b.weight"].status == "measured"


def test_fake_tensors_are_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = nn.Linear(3, 3)
    assert rows_of(nn.ModuleDict({"a": fake}))["a.weight"].status == "refused"


class Functional(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.lin = how, nn.Linear(3, 3)

    def forward(self, x):
        if self.how == "doubled":
            return nn.functional.linear(x, self.lin.weight * 2)
        if self.how == "both":
            return self.lin(x) @ self.lin.weight
        return self.lin(x).to(self.lin.weight.dtype)


@pytest.mark.parametrize("how", ["doubled", "both", "called"])
def test_a_weight_that_other_code_reads_is_said(how):
    row = rows_of(Functional(how), (3,))["lin.weight"]
    assert ("read by the code of Functional itself" in row.reason) == (how != "called")


def test_attention_reads_the_weights_of_its_own_modules():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    rows = rows_of(nn.TransformerEncoder(layer, 2), (3, 4))
    assert not [name for name, row in rows.items() if "itself" in row.reason]
    computed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    assert "itself" not in rows_of(nn.Sequential(computed), (3,))["0.weight"].reason
