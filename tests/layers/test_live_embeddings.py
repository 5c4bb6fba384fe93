"""Embeddings of `transformers` that override the look-up, the same from a checkpoint, and timm's norms: stand-ins."""

import pytest
import torch
from checkpoints import Planned, made
from torch import nn

from live import assert_brackets, jacobian, norm, rows_of
from opnorm.layers.module_rules import ACTIVATED


def of(module_name, cls):
    """`cls`, as if it came from a module of another library."""
    cls.__module__, cls.__qualname__ = module_name, cls.__name__
    return cls


class OPTLearnedPositionalEmbedding(nn.Embedding):
    def forward(self, positions):
        return super().forward(positions + 2)


class Gemma2TextScaledWordEmbedding(nn.Embedding):
    def __init__(self, entries, features, scale):
        super().__init__(entries, features)
        self.scalar_embed_scale = scale

    def forward(self, tokens):
        return super().forward(tokens) * self.scalar_embed_scale


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BatchNormAct2d(nn.BatchNorm2d):
    def __init__(self, size, act):
        super().__init__(size)
        self.act = act

    def forward(self, x):
        return self.act(super().forward(x))


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embed, self.other = nn.Parameter(torch.randn(1, 9, 4)), nn.Parameter(torch.randn(2, 9, 4))


of("transformers.models.opt.modeling_opt", OPTLearnedPositionalEmbedding)
of("transformers.models.gemma2.modeling_gemma2", Gemma2TextScaledWordEmbedding)
of("timm.layers.norm", LayerNorm2d)
of("timm.layers.norm_act", BatchNormAct2d)


def test_a_shifted_look_up_is_its_table():
    table = OPTLearnedPositionalEmbedding(7, 4)
    row = rows_of(nn.ModuleDict({"p": table}))["p.weight"]
    assert_brackets(row, norm(table.weight.detach()))
    assert (row.kind, row.reason, len(row.also)) == ("embedding", "", 1)


def test_a_scaled_look_up_has_its_table_as_stored_and_says_so():
    model = nn.ModuleDict({"e": Gemma2TextScaledWordEmbedding(7, 4, 3.0), "head": nn.Linear(4, 7, bias=False)})
    model["head"].weight = model["e"].weight
    rows = rows_of(model)
    assert_brackets(rows["e.weight"], norm(model["e"].weight.detach()))
    assert rows["e.weight"].reason.startswith("rows are multiplied by 3 when")
    assert rows["e.weight"].also == ()
    assert rows["head.weight"].reason.startswith("tied: the same tensor as e.weight")
    plain = rows_of(nn.ModuleDict({"e": Gemma2TextScaledWordEmbedding(7, 4, 1)}))["e.weight"]
    assert (plain.reason, len(plain.also)) == ("", 1)


def test_a_users_own_subclass_is_refused_still():
    class Doubled(Gemma2TextScaledWordEmbedding):
        def forward(self, tokens):
            return 2 * super().forward(tokens)

    assert rows_of(nn.ModuleDict({"e": Doubled(7, 4, 3.0)}))["e.weight"].status == "refused"


@pytest.mark.parametrize(("kind", "said"), [("gemma2", True), ("llama", False)])
def test_from_a_checkpoint_too(kind, said):
    planned = Planned(made({"model.embed_tokens.weight": (6, 4)}), {"model_type": kind})
    assert ("√hidden_size" in planned["model.embed_tokens.weight"].reason) == said


@pytest.mark.parametrize(("act", "reason"), [(nn.ReLU(), ACTIVATED), (nn.Identity(), "")])
def test_a_batch_norm_with_its_activation_is_measured_before_it(act, reason):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), BatchNormAct2d(3, act), LayerNorm2d(3)).double().eval()
    model[1].running_var.uniform_(0.2, 2)
    rows = rows_of(model, (2, 5, 5))
    assert_brackets(rows["1.weight"], float((1 / (model[1].running_var + model[1].eps).sqrt()).max()), slack=1e-9)
    assert rows["1.weight"].reason == reason
    linear = nn.Sequential(model[0], lambda_of(lambda x: nn.BatchNorm2d.forward(model[1], x)))
    assert_brackets(rows["0[1 folded]"], norm(jacobian(linear, 2, 5, 5)))
    assert rows["2.weight"].kind == "scale"


def lambda_of(function):
    class Function(nn.Module):
        def forward(self, x):
            return function(x)

    return Function()


def test_positions_of_a_librarys_class_are_a_constant_and_of_the_users_are_not():
    own = rows_of(VisionTransformer())
    assert (own["pos_embed"].status, own["other"].status) == ("refused", "refused")
    library = rows_of(of("timm.models.vision_transformer", VisionTransformer)())
    assert (library["pos_embed"].status, library["pos_embed"].kind) == ("not_a_map", "constant")
    assert library["other"].status == "refused"
