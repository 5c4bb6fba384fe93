"""Links of transformers: which rows feed which in each family, and their gains against matrices multiplied out."""

import numpy as np
import pytest
import torch
from blocks_of_families import HEADS, SIZE, D, bert, gpt2, llama, neox, phi
from constructed import of_file, of_model, spectral
from torch import nn


def links_of(arrays, config):
    return {(link.first, link.second): link for link in of_file(arrays, config).links}


def wide(arrays, name):
    return arrays[f"{name}.weight"].astype(np.float64)


def folded(weight, arrays, norm, centered=True):
    scaled = weight * wide(arrays, norm)
    return scaled - scaled.mean(axis=1, keepdims=True) if centered else scaled


def check(link, second, first):
    """The link's numbers against explicit matrices, as they act."""
    truth, left, right = spectral(second @ first), spectral(second), spectral(first)
    assert link.gain.lower <= truth * (1 + 1e-9)
    assert link.gain.upper >= truth * (1 - 1e-9)
    assert link.gain.value == pytest.approx(truth, rel=0.01)
    assert link.product.value == pytest.approx(left * right, rel=0.02)
    assert link.looseness == pytest.approx(left * right / truth, rel=0.03)
    u, v = np.linalg.svd(first)[0][:, 0], np.linalg.svd(second)[2][0]
    assert link.alignment == pytest.approx(abs(u @ v), abs=1e-4)


def test_bert():
    arrays, config = bert()
    links = links_of(arrays, config)
    word, position = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
    expected = {(table, f"encoder.layer.0.attention.self.{part}.weight"): "residual stream, LayerNorm"
                for table in (word, position) for part in ("query", "key", "value")}  # fmt: skip
    for n in range(3):
        block = f"encoder.layer.{n}"
        expected |= {
            (f"{block}.attention.self.value.weight", f"{block}.attention.output.dense.weight"): "attention weights",
            (f"{block}.attention.output.dense.weight", f"{block}.intermediate.dense.weight"):
                "residual stream, LayerNorm",
            (f"{block}.intermediate.dense.weight", f"{block}.output.dense.weight"): "GELU",
        }  # fmt: skip
        if n < 2:
            expected |= {(f"{block}.output.dense.weight", f"encoder.layer.{n + 1}.attention.self.{part}.weight"):
                         "residual stream, LayerNorm" for part in ("query", "key", "value")}  # fmt: skip
    assert {pair: link.through for pair, link in links.items()} == expected
    b0, b1 = "encoder.layer.0", "encoder.layer.1"
    query = folded(wide(arrays, f"{b1}.attention.self.query"), arrays, f"{b0}.output.LayerNorm")
    check(links[f"{b0}.output.dense.weight", f"{b1}.attention.self.query.weight"], query,
          wide(arrays, f"{b0}.output.dense"))  # fmt: skip
    key = folded(wide(arrays, f"{b0}.attention.self.key"), arrays, "embeddings.LayerNorm")
    check(links[word, f"{b0}.attention.self.key.weight"], key, wide(arrays, "embeddings.word_embeddings").T)
    check(links[f"{b0}.attention.self.value.weight", f"{b0}.attention.output.dense.weight"],
          wide(arrays, f"{b0}.attention.output.dense"), wide(arrays, f"{b0}.attention.self.value"))  # fmt: skip
    check(links[f"{b0}.intermediate.dense.weight", f"{b0}.output.dense.weight"],
          wide(arrays, f"{b0}.output.dense"), wide(arrays, f"{b0}.intermediate.dense"))  # fmt: skip


def test_bert_by_its_names_alone():
    arrays, config = bert()
    assert links_of(arrays, None).keys() == links_of(arrays, config).keys()


def test_llama_with_shared_values():
    arrays, config = llama()
    links = links_of(arrays, config)
    block = "model.layers.0"
    value, output = wide(arrays, f"{block}.self_attn.v_proj"), wide(arrays, f"{block}.self_attn.o_proj")
    shared = np.concatenate([value] * HEADS)
    link = links[f"{block}.self_attn.v_proj.weight", f"{block}.self_attn.o_proj.weight"]
    assert link.through == f"attention weights, each value shared by {HEADS} heads"
    check(link, output, shared)
    check(links[f"{block}.mlp.gate_proj.weight", f"{block}.mlp.down_proj.weight"],
          wide(arrays, f"{block}.mlp.down_proj"), wide(arrays, f"{block}.mlp.gate_proj"))  # fmt: skip
    up = folded(wide(arrays, f"{block}.mlp.up_proj"), arrays, f"{block}.post_attention_layernorm", centered=False)
    check(links[f"{block}.self_attn.o_proj.weight", f"{block}.mlp.up_proj.weight"], up, output)
    head = folded(wide(arrays, "lm_head"), arrays, "model.norm", centered=False)
    check(links["model.layers.1.mlp.down_proj.weight", "lm_head.weight"], head,
          wide(arrays, "model.layers.1.mlp.down_proj"))  # fmt: skip
    assert ("model.embed_tokens.weight", f"{block}.self_attn.q_proj.weight") in links
    assert len(links) == 2 * (1 + 2 + 2) + 3 + 3 + 1


def test_llama_of_two_values_repeats_each_for_its_group():
    rng = np.random.default_rng(0)
    arrays, config = llama(1, kv_heads=1)
    width, heads = 4 * SIZE, 4
    for part, shape in (("q", (width, D)), ("k", (2 * SIZE, D)), ("v", (2 * SIZE, D)), ("o", (D, width))):
        arrays[f"model.layers.0.self_attn.{part}_proj.weight"] = rng.standard_normal(shape).astype(np.float32)
    config |= {"num_attention_heads": heads, "num_key_value_heads": 2, "head_dim": SIZE}
    links = links_of(arrays, config)
    value = wide(arrays, "model.layers.0.self_attn.v_proj")
    a, b = value[:SIZE], value[SIZE:]
    pair = "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight"
    check(links[pair], wide(arrays, "model.layers.0.self_attn.o_proj"), np.concatenate([a, a, b, b]))


def test_gpt2_is_stored_transposed_and_tied():
    arrays, config = gpt2()
    links = links_of(arrays, config)
    value = wide(arrays, "h.0.attn.c_attn")[:, 2 * D :].T
    check(links["h.0.attn.c_attn.weight[v]", "h.0.attn.c_proj.weight"], wide(arrays, "h.0.attn.c_proj").T, value)
    key = folded(wide(arrays, "h.1.attn.c_attn")[:, D : 2 * D].T, arrays, "h.1.ln_1")
    check(links["h.0.mlp.c_proj.weight", "h.1.attn.c_attn.weight[k]"], key, wide(arrays, "h.0.mlp.c_proj").T)
    check(links["h.0.mlp.c_fc.weight", "h.0.mlp.c_proj.weight"], wide(arrays, "h.0.mlp.c_proj").T,
          wide(arrays, "h.0.mlp.c_fc").T)  # fmt: skip
    head = folded(wide(arrays, "wte"), arrays, "ln_f")
    check(links["h.1.mlp.c_proj.weight", "wte.weight"], head, wide(arrays, "h.1.mlp.c_proj").T)
    check(links["wpe.weight", "h.0.attn.c_attn.weight[q]"],
          folded(wide(arrays, "h.0.attn.c_attn")[:, :D].T, arrays, "h.0.ln_1"), wide(arrays, "wpe").T)  # fmt: skip


@pytest.mark.parametrize("parallel", [True, False])
def test_neox_reads_in_parallel_or_not(parallel):
    links = links_of(*neox(parallel=parallel))
    output = "gpt_neox.layers.0.attention.dense.weight"
    assert ((output, "gpt_neox.layers.0.mlp.dense_h_to_4h.weight") in links) is not parallel
    for later in ("attention.query_key_value.weight[q]", "mlp.dense_h_to_4h.weight"):
        assert ((output, f"gpt_neox.layers.1.{later}") in links) is parallel
    assert (
        "gpt_neox.layers.0.mlp.dense_4h_to_h.weight",
        "gpt_neox.layers.1.attention.query_key_value.weight[q]",
    ) in links
    head = {first for first, second in links if second == "embed_out.weight"}
    assert head == {"gpt_neox.layers.1.mlp.dense_4h_to_h.weight"} | (
        {"gpt_neox.layers.1.attention.dense.weight"} if parallel else set()
    )


def test_phi_shares_one_norm_and_so_reads_in_parallel():
    links = links_of(*phi())
    assert ("model.layers.0.self_attn.dense.weight", "model.layers.0.mlp.fc1.weight") not in links
    assert ("model.layers.0.self_attn.dense.weight", "model.layers.1.mlp.fc1.weight") in links
    assert ("model.embed_tokens.weight", "model.layers.0.mlp.fc1.weight") in links


def test_gemma_scales_its_embeddings_and_adds_one_to_its_norms():
    arrays, config = llama()
    links = links_of(arrays, config | {"model_type": "gemma", "head_dim": SIZE})
    assert not any(first == "model.embed_tokens.weight" for first, _ in links)
    up = wide(arrays, "model.layers.0.mlp.up_proj") * (1 + wide(arrays, "model.layers.0.post_attention_layernorm"))
    pair = "model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.up_proj.weight"
    check(links[pair], up, wide(arrays, "model.layers.0.self_attn.o_proj"))


def test_llama_names_without_a_configuration_are_not_enough():
    arrays, _ = llama()
    found = of_file(arrays)
    assert found.links == ()
    assert "config.json" in found.notes[0]


def test_a_gap_between_blocks_is_not_linked_over():
    arrays, config = bert(3)
    links = links_of({n: a for n, a in arrays.items() if not n.startswith("encoder.layer.1.")}, config)
    assert not any(a.startswith("encoder.layer.0") and b.startswith("encoder.layer.2") for a, b in links)


def test_rows_that_are_not_wanted_have_no_links():
    arrays, config = bert()
    found = of_file(arrays, config, select=lambda name: name.startswith("encoder.layer.1."))
    assert {link.first.split(".")[2] for link in found.links} == {"1"}
    assert {head.name.split(".")[2] for head in found.heads} == {"1"}
    assert all(name.startswith("encoder.layer.1.") for name in found.order)


def test_order_runs_from_embeddings_to_the_head():
    order = of_file(*llama()).order
    block = [f"model.layers.{n}.{part}.weight" for n in range(2)
             for part in ("self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj",
                          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")]  # fmt: skip
    assert order == ("model.embed_tokens.weight", *block, "lm_head.weight")


def test_torchs_own_encoder_layer():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(D, HEADS, 20, batch_first=True, dtype=torch.float64)
    model = nn.Module()
    model.layers = nn.ModuleList([layer])
    found = of_model(model)
    links = {(link.first, link.second): link for link in found.links}
    assert set(links) == {
        ("layers.0.self_attn.in_proj_weight[v]", "layers.0.self_attn.out_proj.weight"),
        ("layers.0.linear1.weight", "layers.0.linear2.weight"),
    }
    weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    check(links["layers.0.linear1.weight", "layers.0.linear2.weight"], weights["linear2.weight"],
          weights["linear1.weight"])  # fmt: skip
    assert len(found.heads) == HEADS


def test_someones_own_block_around_attention_is_not_taken_for_torchs():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.self_attn = nn.MultiheadAttention(D, HEADS)
            self.linear1, self.linear2 = nn.Linear(D, 20), nn.Linear(20, D)

    model = nn.Module()
    model.layers = nn.ModuleList([Own()])
    assert {link.second for link in of_model(model).links} == {"layers.0.self_attn.out_proj.weight"}
