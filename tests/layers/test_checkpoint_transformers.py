"""Transformer families from names, shapes and configuration: per head, per part and per normalization, in NumPy."""

import math

import numpy as np
import pytest
from checkpoints import Planned, made

from opnorm.layers.normalization import WORST

D, HEADS, SIDE = 12, 3, 20
SIZE = D // HEADS


def linear(name, rows, columns, bias=True):
    return {f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})}


def norm(name, bias=True, size=D):
    return linear(name, size, 0, bias) | {f"{name}.weight": (size,)}


def bert_block(path):
    return {
        **linear(f"{path}.attention.self.query", D, D),
        **linear(f"{path}.attention.self.key", D, D),
        **linear(f"{path}.attention.self.value", D, D),
        **linear(f"{path}.attention.output.dense", D, D),
        **norm(f"{path}.attention.output.LayerNorm"),
        **linear(f"{path}.intermediate.dense", SIDE, D),
        **linear(f"{path}.output.dense", D, SIDE),
        **norm(f"{path}.output.LayerNorm"),
    }


def bert(prefix=""):
    return {
        f"{prefix}embeddings.word_embeddings.weight": (30, D),
        f"{prefix}embeddings.position_embeddings.weight": (8, D),
        **norm(f"{prefix}embeddings.LayerNorm"),
        **bert_block(f"{prefix}encoder.layer.0"),
        **bert_block(f"{prefix}encoder.layer.1"),
        **linear(f"{prefix}pooler.dense", D, D),
    }


def wide(arrays, name):
    return arrays[name].astype(np.float64)


def centered(weight, scale):
    """W·diag(γ)(I − 11ᵀ/n)."""
    scaled = weight * scale
    return scaled - scaled.mean(axis=1, keepdims=True)


def check_circuits(planned, path, q, k, v, o, heads=HEADS, kv_heads=HEADS, size=SIZE, score=True):
    """Upright matrices against every circuit of `path`."""
    for h in range(heads):
        mine, shared = slice(h * size, (h + 1) * size), h // (heads // kv_heads)
        their = slice(shared * size, (shared + 1) * size)
        if score:
            planned.check(f"{path}[qk head {h}]", q[mine].T @ k[their] / math.sqrt(size))
        planned.check(f"{path}[ov head {h}]", o[:, mine] @ v[their])
    assert len(planned.named(f"{path}[")) == heads * (2 if score else 1)


BERT_CONFIG = {"model_type": "bert", "num_attention_heads": HEADS, "layer_norm_eps": 1e-12}


@pytest.mark.parametrize("prefix", ["", "bert.", "module.roberta."])
def test_bert(prefix):
    arrays = made(bert(prefix))
    planned = Planned(arrays, BERT_CONFIG)
    for block in (0, 1):
        path = f"{prefix}encoder.layer.{block}.attention"
        q, k, v = (wide(arrays, f"{path}.self.{part}.weight") for part in ("query", "key", "value"))
        check_circuits(planned, f"{path}.self", q, k, v, wide(arrays, f"{path}.output.dense.weight"))
        before = f"{prefix}embeddings.LayerNorm" if block == 0 else f"{prefix}encoder.layer.0.output.LayerNorm"
        folded = centered(q, wide(arrays, f"{before}.weight"))
        planned.check(f"{path}.self.query[LayerNorm folded]", folded)
        reader = f"{prefix}encoder.layer.{block}.intermediate.dense"
        scale = wide(arrays, f"{path}.output.LayerNorm.weight")
        planned.check(f"{reader}[LayerNorm folded]", centered(wide(arrays, f"{reader}.weight"), scale))
    for name, array in arrays.items():
        if array.ndim == 2:
            planned.check(name, array)
    assert planned[f"{prefix}embeddings.word_embeddings.weight"].kind == "embedding"


def test_the_worst_case_of_a_normalization_stands_beside_its_scale():
    arrays = made(bert())
    found = Planned(arrays, BERT_CONFIG).beside("encoder.layer.0.attention.output.LayerNorm.weight", WORST)
    scale = np.abs(wide(arrays, "encoder.layer.0.attention.output.LayerNorm.weight")).max()
    assert found.upper == pytest.approx(scale / math.sqrt(1e-12), rel=1e-12)
    assert found.lower is None


def test_bert_without_a_configuration_has_no_circuits():
    planned = Planned(made(bert()))
    assert planned.named("head") == []
    assert "encoder.layer.0.intermediate.dense[LayerNorm folded]" in planned


def gpt2(transposed=True):
    def conv1d(name, rows, columns):
        return (
            linear(name, rows, columns)
            if not transposed
            else {**linear(name, rows, columns), f"{name}.weight": (columns, rows)}
        )

    return {
        "transformer.wte.weight": (30, D),
        "transformer.wpe.weight": (8, D),
        **norm("transformer.h.0.ln_1"),
        "transformer.h.0.attn.bias": (1, 1, 8, 8),
        **conv1d("transformer.h.0.attn.c_attn", 3 * D, D),
        **conv1d("transformer.h.0.attn.c_proj", D, D),
        **norm("transformer.h.0.ln_2"),
        **conv1d("transformer.h.0.mlp.c_fc", SIDE, D),
        **conv1d("transformer.h.0.mlp.c_proj", D, SIDE),
        **norm("transformer.ln_f"),
    }


@pytest.mark.parametrize("transposed", [True, False])
def test_gpt2_and_its_reimplementations(transposed):
    arrays = made(gpt2(transposed))
    planned = Planned(arrays, {"model_type": "gpt2" if transposed else "", "n_head": HEADS})
    path = "transformer.h.0.attn"
    upright = {
        n: (wide(arrays, f"{path}.{n}.weight").T if transposed else wide(arrays, f"{path}.{n}.weight"))
        for n in ("c_attn", "c_proj")
    }
    parts = dict(zip("qkv", np.split(upright["c_attn"], 3), strict=True))
    check_circuits(planned, path, *parts.values(), upright["c_proj"])
    scale = wide(arrays, "transformer.h.0.ln_1.weight")
    for part, matrix in parts.items():
        planned.check(f"{path}.c_attn.weight[{part}]", matrix)
        planned.check(f"{path}.c_attn[{part}, ln_1 folded]", centered(matrix, scale))
    reader = wide(arrays, "transformer.h.0.mlp.c_fc.weight")
    folded = centered(reader.T if transposed else reader, wide(arrays, "transformer.h.0.ln_2.weight"))
    planned.check("transformer.h.0.mlp.c_fc[ln_2 folded]", folded)
    assert planned[f"{path}.bias"].status == "not_a_map"
    for name in (f"{path}.c_proj", "transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_proj"):
        assert ("stored transposed" in planned[f"{name}.weight"].operator) == transposed
        planned.check(f"{name}.weight", arrays[f"{name}.weight"])


def test_gpt2_scores_that_are_not_divided_by_the_root():
    arrays = made(gpt2())
    config = {"model_type": "gpt2", "n_head": HEADS, "scale_attn_weights": False}
    matrix = np.split(wide(arrays, "transformer.h.0.attn.c_attn.weight").T, 3)
    planned = Planned(arrays, config)
    planned.check("transformer.h.0.attn[qk head 0]", matrix[0][:SIZE].T @ matrix[1][:SIZE])
    by_layer = Planned(arrays, {**config, "scale_attn_by_inverse_layer_idx": True})
    assert by_layer.named("qk head") == []
    assert "number of the layer" in by_layer["transformer.h.0.attn[ov head 0]"].reason


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


@pytest.mark.parametrize("other", ["crossattention.output.dense", "bottleneck.input.dense"])
def test_blocks_that_are_wired_otherwise_fold_nothing(other):
    arrays = made({**bert(), **linear(f"encoder.layer.0.{other}", D, D)})
    planned = Planned(arrays, BERT_CONFIG)
    assert planned.named("encoder.layer.0.intermediate.dense[") == []
    assert "encoder.layer.0.attention.self[qk head 0]" in planned


def test_the_first_gpt_normalizes_after():
    arrays = {name.replace("wte", "tokens_embed"): array for name, array in made(gpt2()).items()}
    for config in (None, {"model_type": "openai-gpt", "n_head": HEADS}):
        planned = Planned(arrays, config)
        assert planned.named("folded") == []
        assert "transformer.h.0.attn.c_attn.weight[q]" in planned


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
