"""Names of arms, and what may be joined."""

import itertools
import pickle

import pytest

from opnorm.errors import UsageError
from opnorm.experiment.arms import ARMS, arm_of
from opnorm.experiment.arms.naming import HOLDERS


def test_every_arm_answers_to_its_name_and_has_sensible_strengths() -> None:
    for name, arm in ARMS.items():
        assert arm_of(name) is arm
        assert all(0 < s.low <= s.default <= s.high for s in arm.strengths)
        assert not arm.ceiling or arm.ceiling in {s.name for s in arm.strengths}
    names = [s.name for arm in ARMS.values() if arm.name != "same_norm" for s in arm.strengths]
    assert len(names) == len(set(names))  # so that joined arms share none


def test_parts_join_in_any_order() -> None:
    one, other = arm_of("cap+l2"), arm_of("l2+cap")
    assert one.strengths == other.strengths
    assert one.title == other.title
    assert one.spectral
    assert one.ceiling == "cap"
    assert arm_of("l2+dropout").spectral is False


def test_again_is_the_same_arm_under_another_name() -> None:
    arm = arm_of("cap+l2@again")
    assert (arm.name, arm.strengths, arm.ceiling) == ("cap+l2@again", arm_of("cap+l2").strengths, "cap")
    assert arm_of("same_norm@again").matches == "cap"


def test_a_joined_arm_applies_all_parts() -> None:
    applied = arm_of("l2+early_stopping").start({"decay": 0.5, "patience": 3.2, "rate": 0.3}, 0)
    assert (applied.weight_decay, applied.patience, applied.rate) == (0.5, 3, 0.3)
    assert applied.name == "l2+early_stopping"


def test_a_strength_left_out_has_its_default() -> None:
    assert arm_of("cap").start({}, 0).setting == {"cap": 2.0}
    assert arm_of("cap+l2").start({"cap": 3.0}, 0).setting == {"cap": 3.0, "decay": 1.0}


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(sorted(HOLDERS), 2)))
def test_two_that_decide_the_same_norms_are_refused(a: str, b: str) -> None:
    with pytest.raises(UsageError, match=rf"{b}\+{a}.*decide the norms of the same layers"):
        arm_of(f"{b}+{a}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cap+cap", "names 'cap' twice"),
        ("none+l2", "'none' goes with nothing"),
        ("same_norm+cap", "'same_norm' goes with nothing"),
        ("kap", "nearest: cap"),
        ("drop_out", "nearest: dropout"),
        ("cap++l2", "'' is not known"),
        ("", "'' is not known; there are: none, l2"),
        ("cap@", "'cap@' is not known"),
        ("none@again@again", "is not known"),
        ("\x1b[2J" + "x" * 10_000, "is not known"),
    ],
)
def test_other_names_are_refused_with_what_is_allowed(name: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        arm_of(name)
    assert words in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", [*ARMS, "dropout+l1+cap+l2@again"])
def test_arms_pickle(name: str) -> None:
    back = pickle.loads(pickle.dumps(arm_of(name)))  # noqa: S301  (made here)
    assert back.strengths == arm_of(name).strengths
    assert back.start({"rate": 0.5}, 1).rate == 0.5
