"""Llama and its family, fused projections and vision transformers; configurations that shapes contradict."""

import numpy as np
import pytest
from blocks import HEADS, SIDE, SIZE, D, centered, check_circuits, linear, norm, wide
from checkpoints import Planned, made

KV = 1


def llama(q_norm=False, size=SIZE):
    path = "model.layers.0"
    return {
        "model.embed_tokens.weight": (30, D),
        **norm(f"{path}.input_layernorm", bias=False),
        **linear(f"{path}.self_attn.q_proj", HEADS * size, D, bias=False),
        **linear(f"{path}.self_attn.k_proj", KV * size, D, bias=False),
        **linear(f"{path}.self_attn.v_proj", KV * size, D, bias=False),
        **linear(f"{path}.self_attn.o_proj", D, HEADS * size, bias=False),
        **(
            norm(f"{path}.self_attn.q_norm", False, size) | norm(f"{path}.self_attn.k_norm", False, size)
            if q_norm
            else {}
        ),
        **norm(f"{path}.post_attention_layernorm", bias=False),
        **linear(f"{path}.mlp.gate_proj", SIDE, D, bias=False),
        **linear(f"{path}.mlp.up_proj", SIDE, D, bias=False),
        **linear(f"{path}.mlp.down_proj", D, SIDE, bias=False),
        **norm("model.norm", bias=False),
    }


def llama_config(kind, **settings):
    return {
        "model_type": kind,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "rms_norm_eps": 1e-6,
        **settings,
    }


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma"])
@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_llama_and_its_family(kind, size):
    q_norm = kind == "qwen3"
    arrays = made(llama(q_norm, size))
    planned = Planned(arrays, llama_config(kind, head_dim=size))
    path = "model.layers.0.self_attn"
    q, k, v, o = (wide(arrays, f"{path}.{part}_proj.weight") for part in "qkvo")
    check_circuits(planned, path, q, k, v, o, kv_heads=KV, size=size, score=not q_norm)
    scale = wide(arrays, "model.layers.0.input_layernorm.weight") + (kind == "gemma")
    planned.check(f"{path}.q_proj[input_layernorm folded]", q * scale)
    scale = wide(arrays, "model.layers.0.post_attention_layernorm.weight") + (kind == "gemma")
    planned.check(
        "model.layers.0.mlp.up_proj[post_attention_layernorm folded]",
        wide(arrays, "model.layers.0.mlp.up_proj.weight") * scale,
    )
    if q_norm:
        assert "normalized after their projections" in planned[f"{path}[ov head 0]"].reason
    else:
        assert "relative position 0" in planned[f"{path}[qk head 0]"].operator


@pytest.mark.parametrize(
    "settings",
    [
        {"num_attention_heads": 5},
        {"head_dim": SIZE + 1},
        {"num_key_value_heads": 2},
        {"num_attention_heads": 1 << 23},
    ],
)
def test_a_configuration_that_the_shapes_contradict_is_not_believed(settings):
    arrays = made(llama())
    planned = Planned(arrays, llama_config("llama", **settings))
    assert planned.named("head") == []
    assert "contradict" in planned["model.layers.0.self_attn.q_proj.weight"].reason
    planned.check("model.layers.0.self_attn.q_proj.weight", arrays["model.layers.0.self_attn.q_proj.weight"])


@pytest.mark.parametrize("heads", [0, -3, "3", 3.0, True, None, [3], {"a": 3}, 10**18])
def test_a_number_of_heads_that_is_none_gives_no_circuits(heads):
    planned = Planned(made(llama()), llama_config("llama", num_attention_heads=heads))
    assert planned.named("head") == []


def test_llama_names_without_a_configuration_fold_nothing():
    """The same names carry Gemma's 1 + γ, and LayerNorms: nothing is assumed."""
    planned = Planned(made(llama()))
    assert planned.named("folded") == planned.named("head") == []
    assert all(e.reason == "" for e in planned.entries.values() if e.status == "weight")


def test_a_family_that_is_not_known_has_plain_matrices():
    planned = Planned(made(llama()), llama_config("something-new"))
    assert planned.named("folded") == planned.named("head") == []


def test_a_tied_head_is_said():
    config = {"tie_word_embeddings": True, "architectures": ["LlamaForCausalLM"]}
    planned = Planned(made(llama()), llama_config("llama", **config))
    assert "also the output head" in planned["model.embed_tokens.weight"].reason
    stored = Planned(made({**llama(), "lm_head.weight": (30, D)}), llama_config("llama", **config))
    assert stored["model.embed_tokens.weight"].reason == ""


def test_phi3_is_cut_where_its_parts_meet():
    path = "model.layers.0"
    arrays = made({
        **norm(f"{path}.input_layernorm", bias=False),
        **linear(f"{path}.self_attn.qkv_proj", (HEADS + 2 * KV) * SIZE, D, bias=False),
        **linear(f"{path}.self_attn.o_proj", D, HEADS * SIZE, bias=False),
        **norm(f"{path}.post_attention_layernorm", bias=False),
        **linear(f"{path}.mlp.gate_up_proj", 2 * SIDE, D, bias=False),
        **linear(f"{path}.mlp.down_proj", D, SIDE, bias=False),
    })  # fmt: skip
    planned = Planned(arrays, llama_config("phi3"))
    q, k, v = np.split(wide(arrays, f"{path}.self_attn.qkv_proj.weight"), [HEADS * SIZE, (HEADS + KV) * SIZE])
    check_circuits(planned, f"{path}.self_attn", q, k, v, wide(arrays, f"{path}.self_attn.o_proj.weight"), kv_heads=KV)
    planned.check(f"{path}.self_attn.qkv_proj.weight[k]", k)
    gate_up, scale = (
        wide(arrays, f"{path}.mlp.gate_up_proj.weight"),
        wide(arrays, f"{path}.post_attention_layernorm.weight"),
    )
    planned.check(f"{path}.mlp.gate_up_proj.weight[up]", gate_up[SIDE:])
    planned.check(f"{path}.mlp.gate_up_proj[gate, post_attention_layernorm folded]", gate_up[:SIDE] * scale)
    unknown = Planned(arrays)
    assert "its parts are not known" in unknown[f"{path}.self_attn.qkv_proj.weight"].reason


def test_torch_attention_and_timm_are_cut_in_thirds():
    arrays = made({
        "encoder.layers.0.self_attn.in_proj_weight": (3 * D, D),
        **linear("encoder.layers.0.self_attn.out_proj", D, D),
        **linear("blocks.0.attn.qkv", 3 * D, D),
        **linear("blocks.0.attn.proj", D, D),
    })  # fmt: skip
    planned = Planned(arrays)
    for name in ("encoder.layers.0.self_attn.in_proj_weight", "blocks.0.attn.qkv.weight"):
        for part, matrix in zip("qkv", np.split(wide(arrays, name), 3), strict=True):
            planned.check(f"{name}[{part}]", matrix)


VIT_CONFIG = {"model_type": "vit", "num_attention_heads": HEADS, "patch_size": 4, "layer_norm_eps": 1e-6}


def test_vit():
    path = "vit.encoder.layer.0"
    arrays = made({
        "vit.embeddings.cls_token": (1, 1, D),
        "vit.embeddings.position_embeddings": (1, 5, D),
        "vit.embeddings.patch_embeddings.projection.weight": (D, 3, 4, 4),
        **norm(f"{path}.layernorm_before"),
        **linear(f"{path}.attention.attention.query", D, D),
        **linear(f"{path}.attention.attention.key", D, D),
        **linear(f"{path}.attention.attention.value", D, D),
        **linear(f"{path}.attention.output.dense", D, D),
        **norm(f"{path}.layernorm_after"),
        **linear(f"{path}.intermediate.dense", SIDE, D),
    })  # fmt: skip
    planned = Planned(arrays, VIT_CONFIG)
    attention = f"{path}.attention.attention"
    q, k, v = (wide(arrays, f"{attention}.{part}.weight") for part in ("query", "key", "value"))
    check_circuits(planned, attention, q, k, v, wide(arrays, f"{path}.attention.output.dense.weight"))
    planned.check(
        f"{attention}.key[layernorm_before folded]", centered(k, wide(arrays, f"{path}.layernorm_before.weight"))
    )
    patch = planned["vit.embeddings.patch_embeddings.projection.weight"]
    assert patch.operator == f"conv {D}x3x4x4, stride 4, any input size"
    assert planned["vit.embeddings.cls_token"].kind == "constant"
    other = Planned(arrays, {**VIT_CONFIG, "patch_size": 2})
    assert "unknown settings" in other["vit.embeddings.patch_embeddings.projection.weight"].operator


def test_vit_by_its_newer_names():
    path = "vit.layers.0"
    arrays = made({
        **norm(f"{path}.layernorm_before"),
        **linear(f"{path}.attention.q_proj", D, D),
        **linear(f"{path}.attention.k_proj", D, D),
        **linear(f"{path}.attention.v_proj", D, D),
        **linear(f"{path}.attention.o_proj", D, D),
        **norm(f"{path}.layernorm_after"),
        **linear(f"{path}.mlp.fc1", SIDE, D),
    })  # fmt: skip
    planned = Planned(arrays, VIT_CONFIG)
    q, k, v, o = (wide(arrays, f"{path}.attention.{part}_proj.weight") for part in "qkvo")
    check_circuits(planned, f"{path}.attention", q, k, v, o)
    planned.check(
        f"{path}.attention.v_proj[layernorm_before folded]",
        centered(v, wide(arrays, f"{path}.layernorm_before.weight")),
    )
    planned.check(
        f"{path}.mlp.fc1[layernorm_after folded]",
        centered(wide(arrays, f"{path}.mlp.fc1.weight"), wide(arrays, f"{path}.layernorm_after.weight")),
    )
