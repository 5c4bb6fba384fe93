"""What is measured of a finished model, against hand-made cases and other implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from claims_made import MadeSubject, record

from opnorm.experiment.claims import measures
from opnorm.experiment.claims.interpretability import DIRECTION, VALUES, distance, overlap, seed_pairs
from opnorm.experiment.claims.measuring import probabilities, spectrum
from opnorm.experiment.claims.measuring.outputs import outputs_of
from opnorm.experiment.subject import Part, Split, Task


def test_brier_is_half_of_scikit_learns_for_many_classes_and_its_own_for_two() -> None:
    from sklearn.metrics import brier_score_loss

    draw = np.random.default_rng(0)
    logits, targets = draw.normal(size=(80, 2)) * 3, draw.integers(0, 2, 80)
    likely = probabilities.of(logits)
    assert probabilities.brier(likely, targets) == pytest.approx(brier_score_loss(targets, likely[:, 1]))
    many = probabilities.of(draw.normal(size=(80, 5)))
    labels = draw.integers(0, 5, 80)
    by_hand = np.mean([np.sum((p - np.eye(5)[y]) ** 2) for p, y in zip(many, labels, strict=True)]) / 2
    assert probabilities.brier(many, labels) == pytest.approx(by_hand)


def test_calibration_error_of_cases_made_by_hand() -> None:
    sure = np.tile([0.9, 0.1], (10, 1))
    right = np.zeros(10, np.int64)
    right[:3] = 1  # 7 of 10 right at confidence 0.9
    assert probabilities.calibration_error(sure, right) == pytest.approx(0.2)
    mixed = np.concatenate([sure, np.tile([0.55, 0.45], (10, 1))])
    targets = np.concatenate([right, [0] * 6 + [1] * 4])  # 6 of 10 right at 0.55
    assert probabilities.calibration_error(mixed, targets) == pytest.approx(0.5 * 0.2 + 0.5 * 0.05)
    assert probabilities.calibration_error(np.eye(2)[targets], targets) == 0
    assert probabilities.calibration_error(np.eye(2)[1 - targets], targets) == 1


def test_calibration_error_agrees_with_scikit_learns_curve() -> None:
    from sklearn.calibration import calibration_curve

    draw = np.random.default_rng(1)
    likely = probabilities.of(draw.normal(size=(500, 4)) * 2)
    targets = np.array([draw.choice(4, p=p / p.sum()) for p in likely])
    confidence, right = likely.max(1), likely.argmax(1) == targets
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    shares = np.histogram(confidence, np.linspace(0, 1, 16))[0]
    expected = float(np.sum(shares[shares > 0] / 500 * np.abs(accuracy - mean)))
    assert probabilities.calibration_error(likely, targets) == pytest.approx(expected, abs=1e-9)


def test_a_model_that_draws_from_its_own_probabilities_is_calibrated() -> None:
    draw = np.random.default_rng(2)
    likely = probabilities.of(draw.normal(size=(20000, 3)) * 2)
    targets = (likely.cumsum(1) < draw.random(20000)[:, None]).sum(1)
    assert probabilities.calibration_error(likely, targets) < 0.01
    sharper = likely**3 / (likely**3).sum(1, keepdims=True)
    assert probabilities.calibration_error(sharper, targets) > 0.05


def test_scores_of_a_classifier() -> None:
    subject = MadeSubject()
    split = subject.split(0, "full")
    model = subject.model(0, "full", split)
    scores, found = measures(model, split, subject, 0)
    right = outputs_of(model, split.test.inputs).argmax(1) == split.test.targets
    assert scores["test"] == right.mean()
    assert scores["tail"] is None
    assert scores["attacked"] <= scores["test"]
    assert all(scores[name] is not None for name in ("train", "brier", "calibration", "attacked", "corrupted"))
    assert {name for name in found if name.startswith(VALUES)} == {"values.0.weight", "values.2.weight"}


def test_the_worst_tenth_of_a_regression_in_spreads_of_its_target() -> None:
    subject = MadeSubject(Task.REGRESSION, 1, "r2")
    plain = subject.split(0, "full")
    part = Part(plain.test.inputs, np.arange(20, dtype=np.float32))
    split = Split(Part(plain.train.inputs, 10 * plain.train.targets), plain.validation, part)
    model = torch.nn.Sequential(torch.nn.Linear(6, 1), torch.nn.Flatten(0))
    torch.nn.init.zeros_(model[0].weight)
    torch.nn.init.zeros_(model[0].bias)
    scores, _ = measures(model, split, subject, 0)
    assert scores["tail"] == pytest.approx(18.5 / np.std(10.0 * plain.train.targets))  # of 20: the errors 18 and 19
    assert scores["brier"] is None
    assert scores["calibration"] is None


def test_measuring_is_the_same_twice_and_leaves_everything_as_it_was() -> None:
    subject = MadeSubject()
    split = subject.split(0, "full")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 2)).train()
    model[1].eval()
    weights = [p.detach().clone() for p in model.parameters()]
    state = torch.get_rng_state()
    first, again = (measures(model, split, subject, 4) for _ in range(2))
    assert first == again
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in model] == [True, False, True]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    others = {measures(model, split, subject, seed)[0]["corrupted"] for seed in range(5, 15)}
    assert len(others) > 1, "other seeds, other noise"


def test_conditions_but_full_take_test_and_train_alone() -> None:
    subject = MadeSubject()
    split = subject.split(0, "full")
    scores, found = measures(subject.model(0, "small", split), split, subject, 0, "small")
    assert (set(scores), found) == ({"test", "train"}, {})


def test_tokens_are_neither_attacked_nor_directed() -> None:
    subject = MadeSubject(tokens=True)
    split = subject.split(0, "full")
    model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(24, 2))
    scores, found = measures(model, split, subject, 0)
    assert scores["attacked"] is None
    assert scores["corrupted"] is None
    assert set(found) == {"values.2.weight"}, "no embedding, no direction"


def test_every_place_of_a_sequence_counts_as_an_example() -> None:
    draw = np.random.default_rng(7)
    inputs, targets = draw.integers(0, 5, (12, 8)), draw.integers(0, 5, (12, 8))
    part = Part(inputs, targets)
    subject = MadeSubject(Task.MULTICLASS, 5, "neg_log_loss", tokens=True)
    model = torch.nn.Sequential(torch.nn.Embedding(5, 5))
    scores, _ = measures(model, Split(part, part, part), subject, 0)
    flat = probabilities.of(model[0].weight.detach().numpy()[inputs.reshape(-1)])
    picked = flat[np.arange(96), targets.reshape(-1)]
    assert scores["test"] == pytest.approx(np.log(picked).mean())
    by_hand = np.mean((flat - np.eye(5)[targets.reshape(-1)]) ** 2) * 5 / 2
    assert scores["brier"] == pytest.approx(by_hand)


def test_outputs_that_are_not_finite_give_no_number() -> None:
    subject = MadeSubject()
    split = subject.split(0, "full")
    model = subject.model(0, "full", split)
    with torch.no_grad():
        model[2].bias[0] = torch.nan
    scores, _ = measures(model, split, subject, 0)
    assert set(scores.values()) == {None}


def test_at_most_five_hundred_are_attacked_the_rare_class_among_them() -> None:
    subject = MadeSubject(metric="balanced_accuracy")
    small = subject.split(0, "full")
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(2000, 6)).astype(np.float32)
    targets = np.zeros(2000, np.int64)
    targets[:8] = 1
    from opnorm.experiment.claims.measuring import _some

    chosen = _some(Part(inputs, targets), 3)
    assert len(chosen) == 500
    assert chosen.targets.sum() == 2
    assert np.array_equal(chosen.inputs, _some(Part(inputs, targets), 3).inputs)
    assert len(_some(small.test, 3)) == 20


# stability


def made(matrix: np.ndarray, seed: int = 0):
    model = torch.nn.Sequential(torch.nn.Linear(*matrix.shape[::-1], bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(matrix))
    return record("none", seed, spectrum=spectrum.of(model, MadeSubject().split(0, "full")))


def test_equal_weights_are_stable_whatever_order_and_sign_their_units_have() -> None:
    draw = np.random.default_rng(3)
    matrix = draw.normal(size=(20, 24))
    turned = np.linalg.qr(draw.normal(size=(20, 20)))[0] @ matrix
    for other in (matrix, turned):
        assert overlap(made(matrix), made(other, 1)) == pytest.approx(1.0, abs=1e-3)
        assert distance(made(matrix), made(other, 1)) == pytest.approx(0.0, abs=1e-4)


def test_directions_that_have_nothing_in_common_and_those_of_chance() -> None:
    axes = np.eye(24)
    one = axes[:3] * np.array([[3.0], [2.0], [1.0]])
    other = axes[3:6] * np.array([[3.0], [2.0], [1.0]])
    assert overlap(made(one), made(other)) == pytest.approx(0.0, abs=1e-6)
    half = np.stack([3 * axes[0], 2 * axes[5], 1 * axes[6]])
    assert overlap(made(one), made(half)) == pytest.approx(1 / 3, abs=1e-6)
    draw = np.random.default_rng(4)
    by_chance = [overlap(made(draw.normal(size=(20, 24))), made(draw.normal(size=(20, 24)))) for _ in range(60)]
    assert np.mean(by_chance) == pytest.approx(3 / 24, abs=0.02)


def test_spectra_apart_by_a_factor() -> None:
    matrix = np.diag([4.0, 2.0, 1.0, 0.5])
    assert distance(made(matrix), made(math.e * matrix)) == pytest.approx(-1.0, abs=1e-4)
    flat, gone = np.diag([1.0, 0.0]), np.diag([1.0, 1e-9])
    assert distance(made(flat), made(gone)) == 0, "below a thousandth of the largest all counts as that"


def test_layers_of_other_shapes_have_no_value() -> None:
    draw = np.random.default_rng(5)
    one, other = made(draw.normal(size=(20, 24))), made(draw.normal(size=(20, 25)))
    assert overlap(one, other) is None
    assert overlap(record("none", 0), record("none", 1)) is None
    assert distance(one, record("none", 1)) is None


def test_directions_of_a_table_are_over_its_numeric_columns() -> None:
    """Category columns come and go with the split."""
    split = MadeSubject(movable=(0, 1, 2, 3)).split(0, "full")
    draw = np.random.default_rng(8)
    numeric = draw.normal(size=(8, 4))
    found = []
    for _ in range(2):
        model = torch.nn.Sequential(torch.nn.Linear(6, 8))
        with torch.no_grad():
            model[0].weight.copy_(torch.from_numpy(np.concatenate([numeric, 9 * draw.normal(size=(8, 2))], axis=1)))
        found.append(record("none", 0, spectrum=spectrum.of(model, split)))
    assert len(found[0].spectrum["direction.0"]) == 4
    assert overlap(*found) == pytest.approx(1.0, abs=1e-3)
    model = MadeSubject().model(0, "full", split)
    assert not any(n.startswith(DIRECTION) for n in spectrum.of(model, MadeSubject(movable=()).split(0, "full")))


def test_what_is_kept_of_a_spectrum_is_small() -> None:
    draw = np.random.default_rng(6)
    found = made(draw.normal(size=(300, 400))).spectrum
    assert len(found["values.0.weight"]) == 32
    assert list(found["values.0.weight"]) == sorted(found["values.0.weight"], reverse=True)
    assert [n for n in found if n.startswith(DIRECTION)] == [f"direction.{i}" for i in range(3)]
    assert not any(n.startswith(DIRECTION) for n in made(draw.normal(size=(3, 1025))).spectrum), "too wide to keep"
    assert sum(n.startswith(DIRECTION) for n in made(draw.normal(size=(9, 5))).spectrum) == 1, "a quarter of 5 inputs"


def test_seeds_go_in_disjoint_pairs() -> None:
    assert seed_pairs((0, 1, 2, 3, 4)) == ((0, 1), (2, 3))
    assert seed_pairs((7,)) == ()
