"""Answers from records with planted effects, failures and gaps."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from claims_made import MadeSubject, design, record, trial

from opnorm.errors import UsageError
from opnorm.experiment import statistics
from opnorm.experiment.claims import CLAIMS, Family, family_of, judge, untested
from opnorm.experiment.document import Answer, Pair
from opnorm.experiment.subject import Task

ALL = ("full", "small", "noise", "linear", "deep", "looser")
SUBJECT = MadeSubject()


def by_measure(found, claim: str, arm: str = "cap"):
    return {c.measure: c for v in found[0] if v.claim == claim for c in v.comparisons if c.arm == arm}


def test_planted_effects_come_out_in_the_measure_where_they_are() -> None:
    effects = {
        "none": {},
        "cap": {"test": 0.06, "train": -0.05, "attacked": 0.2, "brier": -0.04, "calibration": 0.03},
        "l2": {"test": -0.05, "train": -0.05, "attacked": 0.0, "brier": 0.0, "calibration": 0.0},
    }
    plan = design(arms=("none", "cap", "l2"))
    found = judge(plan, trial(effects), SUBJECT)
    cap, l2 = by_measure(found, "generalization"), by_measure(found, "generalization", "l2")
    assert cap["test"].answer is Answer.HELPS
    assert cap["test"].difference == pytest.approx(0.06, abs=2e-3)
    assert cap["gap"].answer is Answer.HELPS
    assert cap["gap"].difference == pytest.approx(0.11, abs=2e-3)
    assert l2["test"].answer is Answer.HURTS
    assert l2["gap"].answer is Answer.SAME
    assert by_measure(found, "robustness")["attacked"].answer is Answer.HELPS
    assert by_measure(found, "robustness", "l2")["attacked"].answer is Answer.SAME
    reliable = by_measure(found, "reliability")
    assert reliable["brier"].answer is Answer.HELPS, "a lower Brier score is better"
    assert reliable["calibration"].answer is Answer.HURTS, "a larger calibration error is worse"
    assert reliable["steadiness"].answer is Answer.SAME
    assert by_measure(found, "overpenalization")["train"].answer is Answer.HURTS


def test_every_comparison_is_that_of_statistics_with_holms_levels_of_its_claim() -> None:
    effects = {"none": {}, "cap": {"test": 0.02}, "l2": {"test": 0.013}}
    records = trial(effects, conditions=("full", "small"))
    plan = design(arms=("none", "cap", "l2"), conditions=("full", "small"))
    (verdict,) = [v for v in judge(plan, records, SUBJECT)[0] if v.claim == "generalization"]
    assert [(c.measure, c.arm) for c in verdict.comparisons] == [
        (m, a) for m in ("test", "gap", "test_small") for a in ("cap", "l2")
    ]
    paired = [statistics.compare(c.pairs, 0.01, 0.0) for c in verdict.comparisons]
    decided = statistics.decide(paired, 0.05, [1 / 4, 1 / 4, *[1 / 8] * 4])
    assert [(c.answer, c.level) for c in verdict.comparisons] == decided
    assert [(c.p_differs, c.interval, c.better) for c in verdict.comparisons] == [
        (p.p_differs, p.interval, p.better) for p in paired
    ]
    of_cap = {r.seed: r.scores["test"] for r in records if (r.arm, r.condition) == ("cap", "full")}
    of_none = {r.seed: r.scores["test"] for r in records if (r.arm, r.condition) == ("none", "full")}
    assert verdict.comparisons[0].pairs == tuple(Pair(s, of_none[s], of_cap[s]) for s in range(10))


def test_the_order_of_records_does_not_matter() -> None:
    records = trial({"none": {}, "cap": {"test": 0.02}, "none@again": {"test": 0.001}}, conditions=("full", "noise"))
    plan = design(conditions=("full", "noise"))
    shuffled = random.Random(1).sample(records, len(records))
    assert judge(plan, records, SUBJECT) == judge(plan, shuffled, SUBJECT)


def test_sentence_says_the_answer_with_its_figures() -> None:
    effects = {"none": {}, "cap": {"test": 0.0313}, "l2": {"test": 0.0}}
    plan = design(arms=("none", "cap", "l2"), claims=("generalization",))
    sentence = judge(plan, trial(effects), SUBJECT)[0][0].sentence
    assert sentence.startswith(
        "Generalization, by test accuracy (10 seeds, 95 % intervals): cap helps: +3.1 points (+3.1 to +3.2, "
    )
    assert "over 99 % likely better by more than 1 point)" in sentence
    assert "l2 is practically the same: 0 points" in sentence
    assert sentence.endswith("within 1 point).")


def test_no_answer_for_any_arm_is_said_once() -> None:
    draw = np.random.default_rng(3)
    records = [record("none", s, plus={"test": 0.1 * draw.normal()}) for s in range(10)]
    records += [record(a, s, plus={"test": 0.1 * draw.normal()}) for a in ("cap", "l2") for s in range(10)]
    found = judge(design(arms=("none", "cap", "l2"), claims=("generalization",)), records, SUBJECT)
    sentence = found[0][0].sentence
    assert sentence.startswith(
        "Generalization, by test accuracy (10 seeds, 95 % intervals): not enough evidence for any arm: cap: "
    )
    assert sentence.count("not enough evidence") == 1
    assert "; l2: " in sentence


def test_a_score_that_is_no_share_keeps_its_unit() -> None:
    subject = MadeSubject(Task.REGRESSION, 1, "r2")
    plan = design(metric="r2", claims=("generalization", "reliability"))
    verdicts, _ = judge(plan, trial({"none": {}, "cap": {"test": 0.0313}}), subject)
    assert ", by test R² (10 seeds, 95 % intervals): cap helps: +0.031 R² (" in verdicts[0].sentence
    assert verdicts[1].lead == "tail", "probabilities are asked of classes only"
    assert any("Brier" in note and "no probabilities" in note for note in verdicts[1].notes)


def test_open_answers_say_how_many_seeds_would_do() -> None:
    draw = np.random.default_rng(0)
    records = trial({"none": {}})
    records += [record("cap", s, plus={"test": 0.03 + 0.04 * draw.normal()}) for s in range(10)]
    found = judge(design(claims=("generalization",)), records, SUBJECT)
    comparison = by_measure(found, "generalization")["test"]
    assert comparison.answer is Answer.OPEN
    assert comparison.needed is not None
    assert comparison.needed > 10
    assert f"about {comparison.needed} seeds would decide" in found[0][0].sentence


def test_where_no_number_of_seeds_would_decide_rows_are_asked_for() -> None:
    draw = np.random.default_rng(1)
    records = [record("none", s, redrawn=True) for s in range(10)]
    records += [record("cap", s, plus={"test": 0.011 + 0.01 * draw.normal()}, redrawn=True) for s in range(10)]
    (verdict,) = judge(design(claims=("generalization",)), records, SUBJECT)[0]
    assert verdict.comparisons[0].needed is None
    assert any(note.startswith("more seeds would not decide cap: more rows") for note in verdict.notes)


def test_steadiness_judges_no_spread_that_is_not_there() -> None:
    """Deviations from a common median depend on each other: false answers are counted, under the 5 % all the same."""
    from opnorm.experiment.claims.values import steadiness
    from opnorm.experiment.statistics.sample import Sample
    from opnorm.experiment.statistics.sides import p_values
    from opnorm.experiment.statistics.subsets import subset_means

    draw = np.random.default_rng(0)
    arms = draw.exponential(size=(2, 1000, 8))  # skewed, the worst of four shapes tried
    values = -np.abs(arms - np.median(arms, axis=2, keepdims=True))
    one = {s: replace(record("cap", s), scores={"test": float(v)}) for s, v in enumerate(arms[0, 0])}
    np.testing.assert_allclose(list(steadiness(one, range(8)).values()), values[0, 0])
    sample = Sample(values[0] - values[1])
    false = (p_values(sample, subset_means(sample), 0.0)[0] <= 0.05).mean()
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    wide = Sample(values[0] - 6 * values[1])
    assert (p_values(wide, subset_means(wide), 0.0)[0] <= 0.05).mean() > 0.25, "and finds one that is"


# what is compared with what


def test_the_number_of_comparisons_is_known_before_the_run() -> None:
    plan = design(arms=("none", "cap", "l2"), conditions=ALL)
    effects = {"none": {}, "cap": {"test": 0.02}, "l2": {"test": 0.01}}
    verdicts, _ = judge(plan, trial(effects, conditions=ALL), SUBJECT)
    assert {v.claim for v in verdicts} == set(CLAIMS) - {"cost"}
    for verdict in verdicts:
        family = family_of(verdict.claim, plan, SUBJECT)
        leading = sum(c.measure == verdict.lead for c in verdict.comparisons)
        assert (family.leading, family.leading + family.others) == (leading, len(verdict.comparisons))
    assert family_of("generalization", plan, SUBJECT) == Family(2, 6)
    assert family_of("cost", plan, SUBJECT) == Family(0, 0)
    assert family_of("overpenalization", plan, SUBJECT) == Family(2, 1), "l2 has no ceiling to loosen"
    assert family_of("interpretability", plan, SUBJECT).each == 2


def test_a_looser_ceiling_that_is_better_is_overpenalization() -> None:
    records = trial({"none": {}, "cap": {"test": -0.06, "train": -0.06}})
    records += [record("cap", s, "looser", plus={"test": 0.001 * np.sin(s)}) for s in range(10)]
    found = by_measure(judge(design(conditions=("full", "looser")), records, SUBJECT), "overpenalization")
    assert found["test_looser"].answer is Answer.HURTS
    assert found["test_looser"].baseline == "cap@looser"
    assert found["test_looser"].difference == pytest.approx(-0.06, abs=3e-3)
    assert found["train"].answer is Answer.HURTS


def test_what_was_not_run_is_neither_compared_nor_forgotten() -> None:
    plan = design(claims=("generalization", "complexity", "robustness"))
    verdicts, _ = judge(plan, trial({"none": {}, "cap": {"test": 0.02}}), SUBJECT)
    assert {v.claim for v in verdicts} == {"generalization", "robustness"}
    assert {c.measure for c in verdicts[0].comparisons} == {"test", "gap"}
    left = "\n".join(untested(plan, SUBJECT))
    for said in (
        "the condition 'small' was not run", "the condition 'deep' was not run", "reliability: not asked",
        "certified radius", "dropout",
    ):  # fmt: skip
        assert said in left
    assert "cost: not asked" not in left  # its figures stand in every report
    assert "cap," not in left.split("not among the arms: ")[1].split("\n")[0]


def test_tokens_have_no_robustness_and_the_reason_is_said() -> None:
    subject = MadeSubject(tokens=True)
    plan = design(claims=("generalization", "robustness", "interpretability"))
    records = [replace(r, spectrum={"values.w": (2.0 + 0.01 * r.seed, 1.0)}) for r in trial({"none": {}, "cap": {}})]
    verdicts, _ = judge(plan, records, subject)
    assert {v.claim for v in verdicts} == {"generalization", "interpretability"}
    assert verdicts[1].lead == "spectra"
    left = "\n".join(untested(plan, subject))
    assert "test score under attack: inputs are tokens" in left
    assert "overlap of top input directions: inputs are tokens" in left


def test_claims_nobody_knows_and_a_primary_one_that_is_not_judged() -> None:
    with pytest.raises(UsageError, match="speed"):
        judge(design(claims=("speed",)), [], SUBJECT)
    with pytest.raises(UsageError, match="only measured"):
        judge(design(primary="cost"), [], SUBJECT)


# splits


def test_overlap_counts_only_where_splits_are_drawn_anew() -> None:
    effects = {"none": {}, "cap": {"test": 0.02}}
    fixed = judge(design(), trial(effects), SUBJECT)
    redrawn = judge(design(), trial(effects, redrawn=True), SUBJECT)
    one, other = (by_measure(f, "generalization")["test"] for f in (fixed, redrawn))
    expected = statistics.compare(one.pairs, 0.01, 20 / (60 + 20))
    assert other.p_differs == expected.p_differs
    assert other.interval == expected.interval
    assert one.interval == statistics.compare(one.pairs, 0.01, 0.0).interval
    assert other.interval[1] - other.interval[0] > one.interval[1] - one.interval[0]


def test_a_small_training_part_does_not_raise_the_overlap() -> None:
    """It is drawn from the same pool: that pool is what splits share."""
    effects = {"none": {}, "cap": {"test": 0.02}}
    records = trial(effects, redrawn=True)
    records += [replace(r, condition="small", examples=(12, 20)) for r in records]
    found = by_measure(judge(design(conditions=("full", "small")), records, SUBJECT), "generalization")
    assert found["test_small"].interval == found["test"].interval


# failures


def failing(arm: str, seeds, **plus):
    return [
        record(arm, s, failure="Diverged: the loss was nan in epoch 3" if s in seeds else "", plus=plus)
        for s in range(10)
    ]


def test_failed_seeds_are_left_out_by_name_and_counted() -> None:
    records = trial({"none": {}}) + failing("cap", (3, 7), test=0.05)
    found = judge(design(), records, SUBJECT)
    test, failures = by_measure(found, "generalization")["test"], by_measure(found, "reliability")["failures"]
    assert [p.seed for p in test.pairs] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert test.left_out == (
        "seed 3: cap: Diverged: the loss was nan in epoch 3",
        "seed 7: cap: Diverged: the loss was nan in epoch 3",
    )
    assert "cap failed in 2 of 10 seeds" in test.note
    assert "(10 seeds, " in found[0][0].sentence
    assert "2 left out" in found[0][0].sentence
    assert failures.difference == pytest.approx(-0.2)
    assert len(failures.pairs) == 10


def test_an_arm_that_mostly_fails_hurts_there_and_says_nothing_elsewhere() -> None:
    records = trial({"none": {}}) + failing("cap", range(6), test=0.3, attacked=0.3)
    found = judge(design(), records, SUBJECT)
    assert by_measure(found, "reliability")["failures"].answer is Answer.HURTS
    others = [c for v in found[0] for c in v.comparisons if c.measure != "failures"]
    assert {c.answer for c in others} == {Answer.OPEN}
    assert all("cap failed in 6 of 10 seeds: what is left says little" in c.note for c in others)


def test_where_both_fail_alike_the_test_decides() -> None:
    records = failing("none", range(6)) + failing("cap", range(6))
    found = judge(design(), records, SUBJECT)
    assert by_measure(found, "reliability")["failures"].answer is Answer.SAME
    assert by_measure(found, "generalization")["test"].answer is Answer.OPEN


def test_the_rule_on_failures_errs_in_about_one_percent() -> None:
    """Chance of more than half failing in one arm and none in the other, at one rate of failing for both."""
    from scipy import stats

    rates = np.linspace(0.01, 0.99, 99)
    for seeds in range(6, 21):
        both = stats.binom.sf(seeds // 2, seeds, rates) * (1 - rates) ** seeds
        assert both.max() < 0.011, seeds


def test_a_model_without_a_finite_score_counts_as_failed() -> None:
    records = trial({"none": {}, "cap": {"test": 0.05}})
    records = [replace(r, scores=dict.fromkeys(r.scores)) if (r.arm, r.seed) == ("cap", 4) else r for r in records]
    found = judge(design(), records, SUBJECT)
    assert by_measure(found, "reliability")["failures"].difference == pytest.approx(-0.1)
    assert by_measure(found, "generalization")["test"].left_out == ("seed 4: cap: its outputs are not finite",)


def test_seeds_that_did_not_run_are_named() -> None:
    records = [r for r in trial({"none": {}, "cap": {"test": 0.05}}) if (r.arm, r.seed) != ("cap", 9)]
    found = judge(design(), records, SUBJECT)
    assert by_measure(found, "generalization")["test"].left_out == ("seed 9: cap: not run",)
    assert by_measure(judge(design(), [], SUBJECT), "generalization")["test"].answer is Answer.OPEN


# stability


def with_spectrum(arm: str, seed: int, noise: float):
    draw = np.random.default_rng([seed, len(arm)])
    top = np.linalg.qr(np.eye(12)[:, :3] + noise * draw.normal(size=(12, 3)))[0].T
    names = {f"direction.{i}": tuple(row) for i, row in enumerate(top)}
    return record(arm, seed, spectrum={**names, "values.w": tuple(np.exp(noise * draw.normal(size=4)) + 3)})


def test_directions_that_other_seeds_find_again() -> None:
    seeds = tuple(range(20))
    records = [with_spectrum("none", s, 1.0) for s in seeds] + [with_spectrum("cap", s, 0.05) for s in seeds]
    found = judge(design(seeds=seeds, claims=("interpretability",)), records, SUBJECT)
    directions = by_measure(found, "interpretability")["directions"]
    assert directions.answer is Answer.HELPS
    assert [p.seed for p in directions.pairs] == list(range(0, 20, 2)), "disjoint pairs: half as many values"
    assert "10 pairs of seeds" in next(v for v in found[0] if v.claim == "interpretability").sentence


def test_too_few_pairs_of_seeds_are_said_to_decide_nothing() -> None:
    records = [with_spectrum(a, s, 0.1) for a in ("none", "cap") for s in range(6)]
    verdicts, _ = judge(design(seeds=tuple(range(6)), claims=("interpretability",)), records, SUBJECT)
    (note,) = [n for n in next(v for v in verdicts if v.claim == "interpretability").notes if "cannot decide" in n]
    assert "6 seeds, 3 pairs of them, cannot decide 1 comparison whatever they give: 14 seeds could" in note


# controls


def test_the_control_of_nothing_is_same_where_nothing_differs() -> None:
    records = trial({"none": {}, "cap": {"test": 0.05}, "none@again": {"test": 0.0}})
    verdicts, controls = judge(design(), records, SUBJECT)
    assert {c.arm for c in controls} == {"none@again"}
    assert {c.answer for c in controls if c.measure in ("test", "train", "attacked")} == {Answer.SAME}
    assert not any("suspicion" in n for v in verdicts for n in v.notes)
    assert not any(c.arm == "none@again" for v in verdicts for c in v.comparisons)


def test_a_control_that_differs_casts_doubt_on_its_claim() -> None:
    records = trial({"none": {}, "cap": {"test": 0.05}, "none@again": {"test": 0.05}})
    verdicts, controls = judge(design(), records, SUBJECT)
    (test,) = [c for c in controls if (c.claim, c.measure) == ("generalization", "test")]
    assert test.answer is Answer.HELPS
    assert test.level == pytest.approx(0.05 / len(controls)), "the least p-value of Holm's procedure over all controls"
    assert "suspicion" in test.note
    assert any("suspicion" in n for v in verdicts if v.claim == "generalization" for n in v.notes)
    assert not any("suspicion" in n for v in verdicts if v.claim == "robustness" for n in v.notes)


def test_margins_follow_the_one_declared() -> None:
    records = trial({"none": {}, "cap": {"test": 0.05}})
    for margin in (0.01, 0.03):
        found = judge(design(margin=margin), records, SUBJECT)
        reliable = by_measure(found, "reliability")
        assert by_measure(found, "generalization")["gap"].margin == margin
        assert reliable["brier"].margin == pytest.approx(margin)
        assert reliable["steadiness"].margin == margin / 2
        assert reliable["failures"].margin == 0.05


def test_scores_that_never_move_are_said_to_show_nothing() -> None:
    records = [
        replace(r, scores={**r.scores, "test": 0.5, "attacked": 0.3 + 0.01 * r.seed})
        for r in trial({"none": {}, "cap": {}})
    ]
    found = judge(design(), records, SUBJECT)
    assert "every model of both arms scored 0.5" in by_measure(found, "generalization")["test"].note
    assert "every model" not in by_measure(found, "robustness")["attacked"].note
    assert "every model" not in by_measure(found, "reliability")["failures"].note
