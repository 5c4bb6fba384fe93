"""Checkpoints whose rows would be silently wrong if names were taken for more than they say."""

import numpy as np
import pytest
from blocks import HEADS, SIDE, SIZE, D, linear, norm, wide
from checkpoints import Planned, made

from opnorm.readers.families.attention import rotary_scales

BLOCK = "encoder.layer.0"


def bert_block(path=BLOCK, before=False):
    """One block; `before`: normalized before attention and feed-forward, as RoBERTa-PreLayerNorm and ESM."""
    return {
        **(norm(f"{path}.attention.LayerNorm") if before else {}),
        **linear(f"{path}.attention.self.query", D, D),
        **linear(f"{path}.attention.self.key", D, D),
        **linear(f"{path}.attention.self.value", D, D),
        **linear(f"{path}.attention.output.dense", D, D),
        **({} if before else norm(f"{path}.attention.output.LayerNorm")),
        **linear(f"{path}.intermediate.dense", SIDE, D),
        **linear(f"{path}.output.dense", D, SIDE),
        **norm(f"{path}.output.LayerNorm"),
    }


def embedded(**further):
    return {
        "embeddings.word_embeddings.weight": (30, D),
        "embeddings.position_embeddings.weight": (9, D),
        **norm("embeddings.LayerNorm"),
        **further,
    }


def test_what_is_normalized_again_before_attention_is_not_folded():
    planned = Planned(made({**embedded(), **bert_block(before=True)}))
    assert planned.named("folded") == []
    assert Planned(made({**embedded(), **bert_block()})).named("folded") != []


@pytest.mark.parametrize(
    "further",
    [
        {"embeddings.x_position_embeddings.weight": (9, D)},
        {"LayerNorm.weight": (D,), "LayerNorm.bias": (D,)},
        {"embeddings_project.weight": (D, D)},
    ],
)
def test_embeddings_that_reach_the_first_block_otherwise_are_not_folded(further):
    planned = Planned(made({**embedded(**further), **bert_block()}))
    assert [name for name in planned.named("folded") if "query" in name] == []
    assert f"{BLOCK}.intermediate.dense[LayerNorm folded]" in planned


def test_only_the_encoder_of_the_embeddings_reads_them():
    """LXMERT's `r_layers` read pictures, and have the blocks of BERT."""
    planned = Planned(made({**embedded(), **bert_block("encoder.r_layers.0")}))
    assert [name for name in planned.named("folded") if "query" in name] == []


def gpt_block(upright):
    wide_shape = (3 * D, D) if upright else (D, 3 * D)
    return {"h.0.attn.c_attn.weight": wide_shape, "h.0.attn.c_proj.weight": (D, D)}


def test_a_family_that_alternates_its_heads_is_not_cut_as_if_stacked():
    """GPTBigCode without multi-query: rows of c_attn are q, k, v of head 0, then of head 1."""
    planned = Planned(made(gpt_block(upright=True)), {"model_type": "gpt_bigcode", "n_head": HEADS})
    assert "its parts are not known" in planned["h.0.attn.c_attn.weight"].reason
    assert planned.named("[q]") == []


def test_a_cut_that_rests_on_names_alone_says_so():
    planned = Planned(made(gpt_block(upright=True)))
    assert "the order of nanoGPT, whose names these are" in planned["h.0.attn.c_attn.weight[q]"].reason
    planned = Planned(made({"blocks.0.attn.qkv.weight": (3 * D, D)}))
    assert "the order of timm's vision transformers" in planned["blocks.0.attn.qkv.weight[q]"].reason


@pytest.mark.parametrize("kind", ["llama", "phi3", "gpt_neox"])
@pytest.mark.parametrize(
    ("settings", "scaled"),
    [
        ({}, False),
        ({"rope_scaling": None}, False),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, False),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, False),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, True),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, True),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}, "sliding": {"rope_type": "default"}}}, True),
        ({"rope_scaling": {"type": 3}}, True),
    ],
)
def test_rotary_embeddings_that_scale_leave_no_score_circuit(kind, settings, scaled):
    """YaRN and LongRoPE multiply cos and sin: W_QᵀW_K/√d is not what the model compares."""
    path = "model.layers.0.self_attn"
    shapes = linear(f"{path}.o_proj", D, HEADS * SIZE, bias=False)
    if kind == "gpt_neox":
        shapes = linear(f"{path}.query_key_value", 3 * D, D) | linear(f"{path}.dense", D, D)
    elif kind == "phi3":
        shapes |= linear(f"{path}.qkv_proj", 3 * HEADS * SIZE, D, bias=False)
    else:
        for part in "qkv":
            shapes |= linear(f"{path}.{part}_proj", HEADS * SIZE, D, bias=False)
    config = {"model_type": kind, "num_attention_heads": HEADS, **settings}
    planned = Planned(made(shapes), config)
    assert rotary_scales(config) == scaled
    assert (planned.named("qk head") == []) == scaled
    assert len(planned.named("ov head")) == HEADS
    assert ("may scale the scores" in planned[f"{path}[ov head 0]"].reason) == scaled


def test_masks_of_pruning_are_no_layers():
    planned = Planned(made({
        "fc.weight_orig": (3, 4), "fc.weight_mask": (3, 4), "conv1.weight_mask": (3, 4, 3, 3),
        "rnn.weight_hh_l0_orig": (8, 2), "rnn.weight_hh_l0_v": (8, 2),
    }))  # fmt: skip
    assert [planned[n].status for n in ("fc.weight_mask", "conv1.weight_mask")] == ["not_a_map"] * 2
    for name in ("fc.weight_orig", "rnn.weight_hh_l0_orig"):
        assert "before its parametrization" in planned[name].reason
    assert "direction of a weight-normalized weight" in planned["rnn.weight_hh_l0_v"].reason


def test_patches_of_one_channel_may_overlap():
    """Spectrogram transformers have timm's names, a kernel of 16 and a stride of 10."""
    shapes = {"v.cls_token": (1, 1, D), "v.blocks.0.attn.qkv.weight": (3 * D, D)}
    planned = Planned(made({**shapes, "v.patch_embed.proj.weight": (D, 1, 4, 4)}))
    assert "unknown settings" in planned["v.patch_embed.proj.weight"].operator
    planned = Planned(made({**shapes, "v.patch_embed.proj.weight": (D, 3, 4, 4)}))
    assert "stride 4" in planned["v.patch_embed.proj.weight"].operator


LORA = {"m.q.base_layer.weight": (6, 5), "m.q.lora_A.weight": (2, 5), "m.q.lora_B.weight": (6, 2)}


def test_the_first_pattern_that_matches_gives_the_scale():
    arrays = made(LORA)
    config = {"lora_alpha": 2, "alpha_pattern": {"q": 4, "m.q": 40}}
    planned = Planned(arrays, {"adapter_config": config})
    update = wide(arrays, "m.q.lora_B.weight") @ wide(arrays, "m.q.lora_A.weight")
    planned.check("m.q[W + s·B·A]", wide(arrays, "m.q.base_layer.weight") + 2 * update)


@pytest.mark.parametrize("variant", ["alora_invocation_tokens", "arrow_config", "use_qalora"])
def test_variants_of_lora_are_not_the_sum(variant):
    planned = Planned(made(LORA), {"adapter_config": {"lora_alpha": 2, variant: [1]}})
    assert planned["m.q[W + s·B·A]"].status == "refused"
    assert variant in planned["m.q[W + s·B·A]"].reason


@pytest.mark.parametrize("zero", ["weight_zero_point", "weight_offset", "zero_point"])
def test_codes_with_zero_points_are_refused(zero):
    arrays = {
        "a.weight": np.ones((4, 3), np.int8),
        "a.weight_scale": np.ones((4, 1), np.float32),
        f"a.{zero}": np.ones((4, 1), np.float32),
    }
    entry = Planned(arrays)["a.weight"]
    assert entry.status == "refused"
    assert "asymmetric" in entry.reason


def test_experts_stacked_in_two_dimensions_are_said():
    planned = Planned(made({"ffn.experts.mlp.w1": (12, D), "ffn.experts.0.w1.weight": (4, D)}))
    assert "all experts together" in planned["ffn.experts.mlp.w1"].reason
    assert planned["ffn.experts.0.w1.weight"].reason == ""


@pytest.mark.parametrize("name", ["conv2d/kernel:0", "resnet/conv2_d/w", "conv1/weights", "m.conv.depthwise_kernel"])
def test_kernels_whose_channels_come_last_are_not_read_as_torch_s(name):
    entry = Planned(made({name: (3, 3, 2, 4)}))[name]
    assert entry.status == "refused"
    assert "order of axes" in entry.reason


def test_layers_inside_an_embedding_module_are_no_tables():
    names = ["time_embed.0.weight", "patch_embed.proj.weight", "embeddings_project.weight"]
    tables = ["embed_tokens.weight", "transformer.wte.weight", "embeddings.word_embeddings.weight", "embedding"]
    planned = Planned(made(dict.fromkeys([*names, *tables], (5, 4))))
    assert {planned[name].kind for name in names} == {"linear"}
    assert {planned[name].kind for name in tables} == {"embedding"}


@pytest.mark.parametrize(("bits", "status"), [(8, "weight"), (4, "refused")])
def test_codes_of_four_bits_in_bytes_are_not_read_as_bytes(bits, status):
    arrays = {"a.weight": np.ones((4, 3), np.int8), "a.weight_scale": np.ones((4, 1), np.float32)}
    groups = {"group_0": {"weights": {"num_bits": bits}, "input_activations": {"num_bits": 8}}}
    config = {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups}}
    assert Planned(arrays, config)["a.weight"].status == status
