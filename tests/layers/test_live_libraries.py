"""Classes of other libraries, known by qualified names: stand-ins of the same names, parameters and arithmetic."""

import sys

import pytest
import torch
from torch import nn

from live import assert_brackets, jacobian, norm, rows_of


def of(module_name, cls):
    """`cls`, as if it came from a module of another library."""
    cls.__module__, cls.__qualname__ = module_name, cls.__name__
    return cls


class Conv1D(nn.Module):
    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class Tripled(nn.Linear):
    def forward(self, x):
        return 3 * super().forward(x)


class LlamaRMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.randn(size)), eps


class GemmaRMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.randn(size)), 1e-6


class FrozenBatchNorm2d(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.eps = 1e-3
        for name in ("weight", "bias", "running_mean"):
            self.register_buffer(name, torch.randn(size))
        self.register_buffer("running_var", torch.rand(size) + 0.1)

    def forward(self, x):
        scale = (self.weight / (self.running_var + self.eps).sqrt())[:, None, None]
        return (x - self.running_mean[:, None, None]) * scale + self.bias[:, None, None]


class Linear(nn.Module):
    """PEFT's LoRA layer."""

    def __init__(self, base, rank, alpha, transposed=False):
        super().__init__()
        self.base_layer, self.fan_in_fan_out, self.merged = base, transposed, False
        outputs, inputs = base.weight.shape[::-1] if transposed else base.weight.shape
        self.lora_A = nn.ModuleDict({"default": nn.Linear(inputs, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, outputs, bias=False)})
        self.scaling, self.active_adapters, self.use_dora = {"default": alpha / rank}, ["default"], {"default": False}

    def forward(self, x):
        return self.base_layer(x) + self.scaling["default"] * self.lora_B["default"](self.lora_A["default"](x))


of("transformers.pytorch_utils", Conv1D)
of("transformers.models.llama.modeling_llama", LlamaRMSNorm)
of("transformers.models.gemma.modeling_gemma", GemmaRMSNorm)
of("torchvision.ops.misc", FrozenBatchNorm2d)
of("peft.tuners.lora.layer", Linear)


def test_no_library_is_imported_to_look():
    rows_of(nn.ModuleDict({"a": Conv1D(3, 4)}))
    assert not {"transformers", "peft", "torchvision"} & set(sys.modules)


def test_conv1d_is_a_transposed_linear():
    model = nn.ModuleDict({"a": Conv1D(6, 4)}).double()
    row = rows_of(model)["a.weight"]
    assert row.operator == "dense 6x4 (stored transposed)"
    assert_brackets(row, norm(jacobian(model["a"], 4)))


def test_normalizations():
    model = nn.ModuleDict({"llama": LlamaRMSNorm(5, 1e-4), "gemma": GemmaRMSNorm(5), "frozen": FrozenBatchNorm2d(4)})
    rows = rows_of(model.double())
    (beside,) = rows["llama.weight"].also
    assert beside.upper == pytest.approx(float(model["llama"].weight.detach().abs().max()) * 100)
    assert rows["gemma.weight"].also == ()  # it applies 1 + γ
    assert_brackets(rows["frozen.weight"], norm(jacobian(model["frozen"], 4, 1, 1)), width=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
def test_adapters(transposed):
    torch.manual_seed(1)
    base = Conv1D(6, 4) if transposed else nn.Linear(4, 6)
    model = nn.ModuleDict({"q": Linear(base, 2, 8, transposed)}).double()
    rows = rows_of(model)
    assert_brackets(rows["q[W + s·B·A]"], norm(jacobian(model["q"], 4)))
    update = 4 * model["q"].lora_B["default"].weight @ model["q"].lora_A["default"].weight
    assert_brackets(rows["q[s·B·A]"], norm(update.detach()))
    for name, weight in (("base_layer", base), ("lora_A.default", model["q"].lora_A["default"])):
        assert_brackets(rows[f"q.{name}.weight"], norm(weight.weight.detach()))
    assert rows["q.lora_A.default.weight"].kind == "adapter"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: setattr(m, "merged", True), "the adapter is merged"),
        (lambda m: m.use_dora.update(default=True), "DoRA also rescales rows"),
        (lambda m: setattr(m, "disable_adapters", True), "the adapters are disabled"),
        (lambda m: setattr(m, "lora_variant", {"default": Config}), "Config changes the adapter"),
        (lambda m: setattr(m, "base_layer", Tripled(4, 6)), "what Tripled, which is adapted, computes is not known"),
    ],
)
def test_adapters_that_are_not_a_plain_sum_have_no_sum(change, words):
    layer = Linear(nn.Linear(4, 6), 2, 8)
    change(layer)
    rows = rows_of(nn.ModuleDict({"q": layer}))
    assert rows["q[W + s·B·A]"].status == "refused"
    assert words in rows["q[W + s·B·A]"].reason
    assert rows["q[s·B·A]"].status == "measured"


def test_several_adapters_at_once():
    layer = Linear(nn.Linear(4, 6), 2, 8)
    for side in (layer.lora_A, layer.lora_B):
        side["second"] = nn.Linear(*reversed(side["default"].weight.shape), bias=False)
    layer.scaling["second"], layer.active_adapters = 0.5, ["default", "second"]
    rows = rows_of(nn.ModuleDict({"q": layer}))
    update = layer.lora_B["second"].weight @ layer.lora_A["second"].weight / 2
    assert_brackets(rows["q[s·B·A of second]"], norm(update.detach()), slack=1e-6)
    assert "several adapters are in force" in rows["q[W + s·B·A of default]"].reason


class Config:
    model_type = "bert"

    def to_dict(self):
        return {"model_type": "bert", "num_attention_heads": 2, "hidden_size": 8, "layer_norm_eps": 1e-12}


class BertModel(nn.Module):
    """The names and shapes of one layer of BERT."""

    def __init__(self):
        super().__init__()
        self.config = Config()
        attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(8, 8) for name in ("query", "key", "value")}),
                "output": nn.ModuleDict({"dense": nn.Linear(8, 8), "LayerNorm": nn.LayerNorm(8)}),
            }
        )
        layer = nn.ModuleDict(
            {
                "attention": attention,
                "intermediate": nn.ModuleDict({"dense": nn.Linear(8, 16)}),
                "output": nn.ModuleDict({"dense": nn.Linear(16, 8), "LayerNorm": nn.LayerNorm(8)}),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList([layer])})


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.bert, self.head = of("transformers.models.bert.modeling_bert", BertModel)(), nn.Linear(8, 2)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_known_family_has_its_circuits_inside_a_model_of_the_users():
    torch.manual_seed(2)
    model = Mine()
    rows = rows_of(model)
    parts = model.bert.encoder["layer"][0]["attention"]
    for head in range(2):
        cut = slice(4 * head, 4 * head + 4)
        query, key = (parts["self"][n].weight[cut].detach().double() for n in ("query", "key"))
        assert_brackets(rows[f"bert.encoder.layer.0.attention.self[qk head {head}]"], norm(query.T @ key / 2))
    names = [name for name in rows if "[" in name]
    parts["self"]["query"].weight = nn.Parameter(torch.randn(8, 8, device="meta"))
    fewer = [name for name in rows_of(model) if "[" in name]
    assert set(names) - set(fewer) >= {"bert.encoder.layer.0.attention.self[qk head 0]"}
    parts["self"]["query"] = Doubled(8, 8)
    assert not [name for name in rows_of(model) if "qk head" in name]


def test_a_subclass_of_a_known_family_is_not_that_family():
    class Own(BertModel):
        pass

    assert not [name for name in rows_of(Own()) if "[" in name]


def test_an_adapter_inside_a_known_family_has_only_the_rows_of_its_module():
    model = of("transformers.models.bert.modeling_bert", BertModel)()
    attention = model.encoder["layer"][0]["attention"]["self"]
    attention["query"] = Linear(attention["query"], 2, 8)
    path = "encoder.layer.0.attention.self.query"
    names = [name for name in rows_of(model) if name.startswith(f"{path}[")]
    assert names == [f"{path}[s·B·A]", f"{path}[W + s·B·A]"]


class Rewired(nn.ModuleDict):
    """A user's attention, which may use its matrices in any way."""


@pytest.mark.parametrize("how", ["forward", "hook", "class"])
def test_code_around_known_matrices_that_is_not_the_family_s_leaves_no_circuits(how):
    model = of("transformers.models.bert.modeling_bert", BertModel)()
    attention = model.encoder["layer"][0]["attention"]
    assert [name for name in rows_of(model) if "qk head" in name]
    if how == "forward":
        attention["self"].forward = lambda x: x
    elif how == "hook":
        attention["self"].register_forward_hook(lambda module, args, result: 3 * result)
    else:
        attention["self"] = Rewired(dict(attention["self"].items()))
    rows = rows_of(model)
    assert not [name for name in rows if "head" in name or "query[" in name]
    assert rows["encoder.layer.0.attention.self.query.weight"].status == "measured"
