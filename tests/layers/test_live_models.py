"""Whole models: every tensor in a row, every byte counted once, the same numbers as from the state dict alone."""

import pytest
import torch
from torch import nn

from live import assert_brackets, jacobian, norm, report_of, rows_of
from opnorm.errors import UnsupportedInput
from opnorm.linalg.request import Request
from opnorm.readers.live import open_model
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.survey import Survey
from small_models import GPT, MODELS, ResNet, UNet, ViT


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_has_a_row_and_sizes_are_seen(name):
    torch.manual_seed(1)
    kind, shape = MODELS[name]
    model = kind()
    report = report_of(model, shape)
    assert {t for row in report.rows for t in row.tensors} == set(model.state_dict())
    assert not [row for row in report.rows if "traced" in row.reason or "not reached" in row.reason]
    assert not [row for row in report.rows if row.kind == "convolution" and "any input size" in row.operator]
    unique = {p.data_ptr(): p.nbytes for p in model.state_dict().values()}
    assert report.coverage["bytes"] == sum(unique.values())


@pytest.mark.parametrize("name", MODELS)
def test_dense_rows_are_those_of_the_state_dict(name):
    torch.manual_seed(2)
    kind, shape = MODELS[name]
    model = kind()
    live = report_of(model, shape)
    survey = Survey(Request())
    survey.add(MemoryCheckpoint({k: v for k, v in model.state_dict().items() if v.ndim == 2}))
    for row in survey.report("test").rows:
        if row.status != "measured" or "[" in row.name:
            continue
        matrix = model.state_dict()[row.name].double().numpy()
        assert_brackets(row, norm(matrix))
        found = [r for r in live.rows if r.name == row.name and r.status == "measured"]
        for other in found:
            assert_brackets(other, norm(matrix))


def test_resnet_rows_are_its_operators():
    torch.manual_seed(3)
    model = ResNet().double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.3, 3)
                module.weight.normal_()
    rows = rows_of(model, (3, 20, 20))
    first, block = nn.Sequential(model.conv1, model.bn1), model.layer1[1]
    assert_brackets(rows["conv1.weight"], norm(jacobian(model.conv1, 3, 20, 20)))
    assert_brackets(rows["conv1[bn1 folded]"], norm(jacobian(first, 3, 20, 20)))
    assert_brackets(rows["layer1.1.conv1.weight"], norm(jacobian(block.conv1, 4, 5, 5)))
    assert_brackets(rows["layer1.1.conv2[bn2 folded]"], norm(jacobian(nn.Sequential(block.conv2, block.bn2), 6, 3, 3)))
    assert_brackets(rows["layer1.1.shortcut.0[1 folded]"], norm(jacobian(block.shortcut, 4, 5, 5)))
    folded = {name for name in rows if name.endswith("folded]")}
    assert len(folded) == sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_unet_folds_through_a_transposed_convolution():
    torch.manual_seed(4)
    model = UNet().double().eval()
    with torch.no_grad():
        model.bn.weight.normal_()
    rows = rows_of(model, (1, 6, 6))
    assert_brackets(rows["up[bn folded]"], norm(jacobian(nn.Sequential(model.up, model.bn), 6, 3, 3)))
    assert "down.0[1 folded]" in rows
    assert rows["deep.1.weight"].status == "not_a_map"


def test_ties_are_counted_once_and_named():
    model = GPT()
    rows = rows_of(model, (6,))
    assert rows["head.weight"].reason == "tied: the same tensor as wte.weight, counted once"
    assert rows["head.weight"].derived
    assert (rows["head.weight"].lower, rows["head.weight"].upper) == (
        rows["wte.weight"].lower,
        rows["wte.weight"].upper,
    )
    assert rows["causal"].kind == "mask"
    assert "scratch" not in rows


def test_what_is_not_known_is_said():
    rows = rows_of(ViT(), (3, 8, 8))
    assert "measured as the plain matrix" in rows["positions"].reason
    assert "ViT" in rows["positions"].reason
    assert rows["token"].status == "not_a_map"
    assert rows["token"].reason == "a vector, shaped 1x1x8: no matrix acts by it alone"


def test_a_tied_kernel_with_another_stride_has_its_own_row():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Conv1d(2, 2, 3, stride=s, bias=False) for s in (1, 2, 1))
            self.b.weight = self.c.weight = self.a.weight

        def forward(self, x):
            return self.b(x), self.a(x), self.c(x)

    model = Twice().double()
    rows = rows_of(model, (2, 9))
    assert_brackets(rows["a.weight"], norm(jacobian(model.a, 2, 9)))
    assert_brackets(rows["b.weight"], norm(jacobian(model.b, 2, 9)))
    assert "used by another operator" in rows["b.weight"].reason
    assert rows["c.weight"].reason.startswith("tied: the same tensor as a.weight")


def test_a_module_under_two_names_is_measured_once():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = self.first

        def forward(self, x):
            return self.second(self.first(x))

    model = Shared()
    report = report_of(model)
    assert {t for row in report.rows for t in row.tensors} == set(model.state_dict())
    assert report["second.weight"].reason == "tied: the same tensor as first.weight, counted once"
    assert report.coverage["bytes"] == model.first.weight.nbytes + model.first.bias.nbytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_dtypes(dtype):
    weight = torch.randn(6, 5).to(dtype)
    model = nn.ModuleDict({"a": nn.Linear(5, 6, bias=False)})
    model["a"].weight = nn.Parameter(weight, requires_grad=False)
    assert_brackets(rows_of(model)["a.weight"], norm(weight.double()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shape", [None, (3,)])
def test_a_torchscript_program_is_refused_with_a_way_out(shape):
    scripted = torch.jit.script(nn.Linear(3, 2))
    with pytest.raises(UnsupportedInput, match="the model is a TorchScript program"):
        open_model(scripted, shape)
    with pytest.raises(UnsupportedInput, match=r"inner is a TorchScript program.* its state_dict"):
        open_model(nn.ModuleDict({"inner": scripted}), shape)
