import pytest
import torch
from torch import nn

import opnorm
from opnorm.constraint.rules import band, cap, orthogonalize, penalize, watch
from opnorm.constraint.selection import select


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.mlp = nn.Linear(8, 16)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.mha = nn.MultiheadAttention(8, 2)
        self.lstm = nn.LSTM(4, 5)
        self.bn = nn.BatchNorm2d(4)
        self.emb = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.emb.weight


class Strange(nn.Module):
    def __init__(self):
        super().__init__()
        self.stack = nn.Parameter(torch.randn(2, 3, 4))


def names(model, *rules, **options):
    return [site.name for site in select(model, rules, **options).sites]


def test_sites_are_the_rows_that_measure_prints():
    model = nn.ModuleList([Block()])
    rows = {r.name for r in opnorm.measure(model).rows if r.status == "measured"}
    found = names(model, cap("*", 1.0))
    assert set(found) <= rows
    assert "0.mha.in_proj_weight[k]" in found
    assert "0.lstm.weight_hh_l0[forget]" in found


def test_a_part_is_a_view_of_its_parameter():
    model = Block()
    for site in select(model, [cap("*", 1.0)]).sites:
        before = site.parameters[0].detach().clone()
        site.weight().zero_()
        changed = (site.parameters[0].detach() != before).sum()
        assert changed == site.weight().numel() == (before != 0).sum() - (site.parameters[0].detach() != 0).sum()


@pytest.mark.parametrize("split", [3, (8, 8, 8)])
def test_a_fused_matrix_splits_into_parts_of_its_outputs(split):
    model = Block()
    sites = select(model, [cap("qkv", 1.0, split=split)]).sites
    assert [s.name for s in sites] == [f"qkv.weight[{i}]" for i in range(3)]
    assert torch.equal(torch.cat([s.weight() for s in sites]), model.qkv.weight)


def test_types_patterns_and_exclusions():
    model = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(4, 5), "c": nn.Conv1d(2, 3, 3)})
    assert names(model, cap(nn.Linear, 1.0)) == ["a.weight", "b.weight"]
    assert names(model, cap((nn.Conv1d, "a"), 1.0)) == ["a.weight", "c.weight"]
    assert names(model, cap("*", 1.0), exclude=[nn.Linear]) == ["c.weight"]
    assert names(model, cap("*", 1.0), exclude=["b*"]) == ["a.weight", "c.weight"]


def test_a_tied_weight_is_held_once_by_whatever_name():
    model = Block()
    assert names(model, cap(("emb", "head"), 1.0)) == ["emb.weight"]
    assert names(model, cap("head", 1.0)) == ["emb.weight"]


def test_a_watch_yields_to_what_holds():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    sites = select(model, [watch(), cap("1", 1.0)]).sites
    assert [(s.name, s.rule.technique) for s in sites] == [("0.weight", "watch"), ("1.weight", "cap")]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([cap("qvk", 1.0)], "matches no layer; nearest: qkv"),
        ([cap(nn.Conv3d, 1.0)], "no layer is of type Conv3d; layers with weights are: "),
        ([cap("mlp", 1.0), cap("m*", 2.0)], "mlp.weight is held by two rules"),
        ([cap("emb", 1.0), cap("head", 2.0)], "emb.weight is held by two rules"),
        ([band("conv", 0.5, 1.0)], "conv.weight, a convolution: only a ceiling"),
        ([orthogonalize("conv")], "conv.weight, a convolution: only a ceiling"),
        ([cap("bn", 1.0)], "bn.weight (of kind 'batch norm', which no rule holds)"),
        ([cap("*.bias", 1.0)], "names nothing that can be held"),
        ([cap("mlp", 1.0, split=5)], "the 16 outputs of mlp.weight do not split into 5"),
        ([cap("mha.in_proj_weight", 1.0, split=3)], "already known as parts, such as mha.in_proj_weight[q]"),
        ([cap("conv", 1.0, split=2)], "which has no split"),
        ([cap("conv", 1.0, norm="rms")], "'spectral' only"),
    ],
)
def test_rules_that_cannot_be_meant_name_the_layers(rules, says):
    with pytest.raises(opnorm.UsageError) as caught:
        select(Block(), rules)
    assert says in str(caught.value)


def test_a_layer_of_unknown_operator_is_refused_by_name():
    model = nn.ModuleDict({"x": Strange(), "y": nn.Linear(2, 2)})
    with pytest.raises(opnorm.UnsupportedInput, match=r"x\.stack, of unknown operator"):
        select(model, [band("x*", 0.5, 1.0)])
    assert names(model, watch()) == ["y.weight"]


def test_a_rule_on_everything_excluded_is_an_error():
    with pytest.raises(opnorm.UsageError, match="excluded"):
        select(nn.Sequential(nn.Linear(2, 2)), [cap("0", 1.0)], exclude=["0"])


def test_parts_of_one_parameter_may_have_rules_of_their_own():
    model = nn.MultiheadAttention(8, 2)
    sites = select(model, [cap("*weight[[]q[]]", 1.0), cap("*weight[[]v[]]", 2.0), penalize("out_proj")]).sites
    assert [s.name for s in sites] == ["in_proj_weight[q]", "in_proj_weight[v]", "out_proj.weight"]


def test_looking_changes_nothing():
    model = Block().eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    select(model, [cap("*", 1.0)])
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not model._forward_hooks
    assert not model.conv._forward_hooks
