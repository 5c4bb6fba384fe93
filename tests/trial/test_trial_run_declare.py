"""The design before the first training: defaults, and everything that cannot be meant."""

import pytest
from trial_run_fakes import small_declared, small_subject

from opnorm.errors import UsageError
from opnorm.experiment.claims import Family
from opnorm.experiment.document import Record
from opnorm.experiment.run.declare import Wishes, declared
from opnorm.experiment.run.winner import setting_of


@pytest.fixture(scope="module")
def subject():
    return small_subject()


def test_defaults(subject):
    asked = declared(subject, Wishes())
    design = asked.design
    assert design.arms == ("none", "l2", "dropout", "cap", "cap+l2")
    assert design.seeds == tuple(range(20))
    assert design.conditions == ("full", "small", "noise")
    assert (design.metric, design.margin, design.budget, design.epochs, design.batch) == ("accuracy", 0.01, 4, 30, 64)
    assert design.primary == "generalization"
    assert asked.family == Family(4, 12)
    assert asked.least == 9
    assert asked.notes == ()


def test_the_baseline_is_added_and_said_so(subject):
    asked = small_declared(subject, arms=("cap",))
    assert asked.design.arms == ("none", "cap")
    assert "'none' was added" in asked.notes[0]


def test_the_first_claim_is_primary(subject):
    assert small_declared(subject, claims=("robustness", "generalization")).design.primary == "robustness"


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"arms": ("cpa",)}, "nearest: cap"),
        ({"arms": ("cap+l2", "l2+cap")}, "twice"),
        ({"arms": ("none",)}, "nothing to compare"),
        ({"arms": ()}, "nothing to compare"),
        ({"arms": ("none@again", "cap")}, "added by itself"),
        ({"seeds": 0}, "from 1"),
        ({"seeds": 3}, "3 seeds cannot decide.*use at least 8 seeds"),
        ({"seeds": True}, "from 1"),
        ({"seeds": (1, 1, 2)}, "twice"),
        ({"seeds": ()}, "there are none"),
        ({"seeds": (-1, 2)}, "-1 is none"),
        ({"seeds": (2**40,)}, "is none"),
        ({"seeds": "10"}, "seeds '10': give a whole number"),
        ({"seeds": 1.5}, "seeds 1.5: give a whole number"),
        ({"seeds": [1.5, 2.7]}, "seeds: 1.5 is none"),
        ({"arms": "none,cap"}, r"arms='none,cap': give a list of names, such as \['none', 'cap'\]"),
        ({"arms": [1]}, "list of names"),
        ({"claims": "cost"}, "list of names"),
        ({"conditions": "full"}, "list of names"),
        ({"margin": "x"}, "positive"),
        ({"level": "x"}, "between 0 and 1"),
        ({"level": 1e-300}, "at the leading measure's share of level 1e-300: raise the level"),
        ({"conditions": ("smal",)}, "Did you mean 'small'"),
        ({"conditions": ("deep",)}, "deep does not exist here; possible are full, small, noise, looser"),
        ({"claims": ("robust",)}, "Did you mean 'robustness'"),
        ({"claims": ()}, "no claim"),
        ({"claims": ("cost",)}, "primary"),
        ({"claims": ("complexity",)}, "no measure here"),
        ({"margin": 0.0}, "positive"),
        ({"margin": float("nan")}, "positive"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"budget": 0}, "from 1"),
        ({"epochs": -1}, "from 1"),
        ({"tuner": "luck"}, "grid, optuna"),
    ],
)
def test_what_cannot_be_meant(subject, wishes, words):
    with pytest.raises(UsageError, match=words):
        small_declared(subject, **wishes)


def test_a_primary_claim_of_pairs_needs_twice_the_seeds(subject):
    with pytest.raises(UsageError, match="7 seeds are 3 pairs"):
        declared(subject, Wishes(arms=("none", "cap"), claims=("interpretability",), seeds=7))
    found = declared(subject, Wishes(arms=("none", "cap"), claims=("interpretability",), seeds=14))
    assert found.least == 14


def test_the_winners_setting_is_one_that_was_chosen_as_a_whole():
    chosen = [{"rate": r, "cap": c} for r, c in ((1.0, 4.0), (3.0, 1.0), (2.0, 2.0), (0.5, 9.0))]
    records = [Record("cap", seed, "full", setting) for seed, setting in enumerate(chosen)]
    assert setting_of("cap", records) in chosen
    twice = [*records, Record("cap", 9, "full", {"rate": 0.5, "cap": 9.0})]
    assert setting_of("cap", twice) == {"rate": 0.5, "cap": 9.0}
