"""What cannot be known is named and refused, with the reason and what would help; the rest is still measured."""

import pytest
import torch
from torch import nn

from live import assert_brackets, jacobian, norm, report_of, rows_of
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.readers.live import open_model


class Halved(nn.Linear):
    def forward(self, x):
        return super().forward(x) / 2


class Same(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean(), bias)


class Standardized(nn.Linear):
    @property
    def weight(self):
        return self.stored * 2

    @weight.setter
    def weight(self, value):
        self.stored = value


class Called(nn.Module):
    def __call__(self, x):
        return 3 * super().__call__(x)


class Mixed(nn.Linear, Called):
    """The mixin comes between Linear and Module."""


class Renamed(nn.Linear):
    """Overrides nothing that decides what is computed."""

    def __init__(self, *args):
        super().__init__(*args)
        self.note = "mine"

    def reset_parameters(self):
        nn.init.normal_(self.weight)

    def helper(self):
        return 1


def test_a_subclass_that_changes_nothing_is_its_base():
    model = nn.ModuleDict({"a": Renamed(3, 4)})
    assert_brackets(rows_of(model)["a.weight"], norm(model["a"].weight.detach()))


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        (Halved(3, 3), "forward"),
        (Same(2, 2, 3), "_conv_forward"),
        (Standardized(3, 3), "weight"),
        (Mixed(3, 3), "__call__"),
    ],
)
def test_a_subclass_that_overrides_is_refused_by_name(module, changed):
    rows = rows_of(nn.ModuleDict({"a": module, "b": nn.Linear(3, 2)}))
    assert rows["b.weight"].status == "measured"
    for name, row in rows.items():
        if name.startswith("a."):
            assert row.status == "refused"
            assert f"{type(module).__qualname__} overrides {changed} of" in row.reason
            assert "LinearOperator" in row.reason


def test_a_replaced_forward_is_refused_and_not_run():
    model = nn.Sequential(nn.Linear(3, 3), nn.Conv1d(3, 3, 1))
    model[0].forward = lambda x: x * 2
    rows = rows_of(model, (3, 4))
    assert rows["0.weight"].status == "refused"
    assert "forward was" not in rows["0.weight"].reason
    assert "overrides forward" in rows["0.weight"].reason
    assert "could not be traced at input shape (3, 4)" in rows["1.weight"].reason
    assert "forward of 0 was replaced" in rows["1.weight"].reason


def test_a_replaced_helper_is_refused():
    model = nn.ModuleDict({"a": nn.Conv1d(2, 2, 1)})
    model["a"]._conv_forward = lambda x, weight, bias: x
    assert "overrides _conv_forward" in rows_of(model)["a.weight"].reason


def test_a_compiled_model_is_traced_inside():
    model = torch.compile(nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)))
    rows = rows_of(model, (2, 8))
    assert rows["_orig_mod.0.weight"].operator.endswith("on 2x8")
    assert "_orig_mod.0[1 folded]" in rows


def test_meta_and_lazy_parameters_are_refused_clearly():
    model = nn.ModuleDict({"a": nn.Linear(3, 3, device="meta"), "b": nn.LazyLinear(4), "c": nn.Linear(2, 2)})
    rows = rows_of(model, (3,))
    assert "load its weights first" in rows["a.weight"].reason
    assert "run the model once" in rows["b.weight"].reason
    assert {rows[f"{m}.{t}"].status for m in "ab" for t in ("weight", "bias")} == {"refused"}
    assert rows["c.weight"].status == "measured"


def test_a_materialized_lazy_layer_is_measured():
    model = nn.Sequential(nn.LazyLinear(4))
    model(torch.zeros(2, 3))
    assert rows_of(model)["0.weight"].status == "measured"


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 4))
        self.vector = nn.Parameter(torch.randn(3))
        self.stack = nn.Parameter(torch.randn(2, 3, 4))
        self.register_buffer("codes", torch.ones(3, 4, dtype=torch.int8))
        self.register_buffer("positions", torch.arange(12).reshape(3, 4))
        self.register_buffer("wave", torch.ones(3, dtype=torch.complex64))


def test_an_unknown_module():
    rows = rows_of(Unknown())
    assert rows["matrix"].status == "measured"
    assert "how test_live_refusals.Unknown uses it is not known" in rows["matrix"].reason
    assert rows["vector"].status == "not_a_map"
    assert rows["stack"].status == "refused"
    assert "unknown module class test_live_refusals.Unknown" in rows["stack"].reason
    assert rows["codes"].status == "refused"
    assert "dequantize" in rows["codes"].reason
    assert rows["positions"].kind == "indices"
    assert rows["wave"].status == "refused"


def test_tensor_subclasses_layouts_and_nan():
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["a"].weight = nn.Parameter(torch.eye(3).to_sparse(), requires_grad=False)
    with torch.no_grad():
        model["b"].weight[0, 0] = float("nan")
    rows = rows_of(model)
    assert "to_dense" in rows["a.weight"].reason
    assert rows["b.weight"].status == "undefined"
    assert rows["b.weight"].reason == "1 NaN among its entries"


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)

    def forward(self, x):
        return self.conv(x) if x.sum().item() > 0 else x


def test_data_dependent_control_flow_gives_the_bound_for_any_size():
    row = rows_of(Branching(), (2, 8))["conv.weight"]
    assert "could not be traced at input shape (2, 8): any input size" in row.reason
    assert "any input size" in row.operator


def test_a_wrong_input_shape_says_what_went_wrong():
    row = rows_of(nn.Sequential(nn.Conv1d(2, 2, 3)), (5, 8))["0.weight"]
    assert "could not be traced at input shape (5, 8)" in row.reason
    assert "in 0, RuntimeError: " in row.reason


def test_several_sizes_and_layers_that_are_not_reached():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.unused = nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 3)

        def forward(self, x):
            return self.conv(x), self.conv(x[..., ::2])

    rows = rows_of(Pyramid(), (2, 8))
    assert "called at several sizes, 2x8, 2x4: any input size" in rows["conv.weight"].reason
    assert "not reached at input shape (2, 8): any input size" in rows["unused.weight"].reason


def test_several_inputs_by_position_and_by_name():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.conv = nn.Embedding(5, 3), nn.Conv1d(2, 2, 3)

        def forward(self, input_ids, signal):
            return self.table(input_ids).sum() + self.conv(signal).sum()

    named = rows_of(Two(), {"input_ids": (4,), "signal": (2, 9)})
    assert named["conv.weight"].operator.endswith("on 2x9")

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv1d(2, 2, 3), nn.Conv1d(1, 2, 3)

        def forward(self, x, y):
            return self.a(x), self.b(y)

    rows = rows_of(Pair(), ((2, 7), (1, 5)))
    assert rows["a.weight"].operator.endswith("on 2x7")
    assert rows["b.weight"].operator.endswith("on 1x5")


@pytest.mark.parametrize("shape", [(), (0, 3), (3.0, 2), "3", {}, {"x": 3}, ((2, 3), 4), (True, 2), 7])
def test_an_impossible_input_shape_is_a_usage_error(shape):
    with pytest.raises(UsageError, match=r"give the shape of one example without the batch, such as \(3, 224, 224\)"):
        open_model(nn.Linear(2, 2), shape)


@pytest.mark.parametrize("thing", [nn.Linear, 3, {"a": torch.eye(2)}])
def test_what_is_no_module(thing):
    with pytest.raises(UnsupportedInput, match=r"is no torch.nn.Module: give a model"):
        open_model(thing)


def test_a_parametrization_that_fails_is_named():
    class Broken(nn.Module):
        def forward(self, x):
            if not self.training:
                raise RuntimeError("no")
            return x

    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(2, 2)})
    nn.utils.parametrize.register_parametrization(model["a"], "weight", Broken())
    rows = rows_of(model)
    refused = rows["a.parametrizations.weight.original"]
    assert refused.status == "refused"
    assert "the parametrization of 'weight' failed: RuntimeError: no" in refused.reason
    assert rows["b.weight"].status == "measured"


def test_batch_norm_without_statistics_is_no_map():
    rows = rows_of(nn.ModuleDict({"a": nn.BatchNorm1d(3, track_running_stats=False)}))
    assert rows["a.weight"].status == "not_a_map"
    assert "statistics of the batch" in rows["a.weight"].reason


class Feeds(nn.Module):
    """Where folding would be wrong: the convolution's output goes elsewhere too, or through something first."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv, self.bn = how, nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)

    def forward(self, x):
        y = self.conv(x)
        if self.how == "shared":
            return self.bn(y) + y
        if self.how == "returned":
            return self.bn(y), y
        if self.how == "through":
            return self.bn(torch.relu(y))
        if self.how == "changed":
            y += 1
            return self.bn(y)
        if self.how == "twice":
            return self.bn(self.conv(y))
        if self.how == "again":
            return self.bn(self.conv(self.bn(y)))
        if self.how == "view":
            kept = y.view(y.shape)
            return self.bn(y) * kept
        return self.bn(y)


@pytest.mark.parametrize("how", ["shared", "returned", "through", "changed", "twice", "again", "view", "alone"])
def test_only_what_feeds_a_batch_norm_alone_is_folded(how):
    model = Feeds(how).double().eval()
    rows = rows_of(model, (2, 5))
    assert ("conv[bn folded]" in rows) == (how == "alone")
    if how == "alone":
        assert_brackets(rows["conv[bn folded]"], norm(jacobian(model, 2, 5)))


def test_torch_quantized_modules_have_a_row():
    class Packed:
        __module__ = "torch.ao.nn.quantized.modules.linear"

    kind = type("Linear", (nn.Module,), {"__module__": "torch.ao.nn.quantized.modules.linear"})
    module = kind()
    module._packed_params = Packed()
    report = report_of(nn.ModuleDict({"a": module}))
    assert report["a"].status == "refused"
    assert "measure the model before it was quantized" in report["a"].reason
