"""Time and memory of arms beside a plain twin."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace

import torch
from claims_made import MadeSubject, design
from torch.utils._python_dispatch import TorchDispatchMode

from opnorm.experiment.claims.cost import costs
from opnorm.experiment.claims.measuring import timing

ARMS = ("none", "l2", "cap", "jacobian")


class Operations(TorchDispatchMode):
    """Counts what torch computes: a clock that no other program's load can turn."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_costs_of_arms_whose_costs_are_known(monkeypatch) -> None:
    with Operations() as seen:
        clock = SimpleNamespace(process_time=lambda: 1e-5 * seen.count, perf_counter=time.perf_counter)
        monkeypatch.setattr(timing, "time", clock)
        found = {c.arm: c for c in costs(MadeSubject(), design(arms=ARMS))}
    assert list(found) == ["l2", "cap", "jacobian"], "none is what they are compared with"
    assert found["l2"].memory_bytes == 0
    assert found["l2"].step_ratio == 1.0, "the same operations with another decay"
    assert found["cap"].memory_bytes > 0, "the gate keeps vectors"
    assert found["cap"].step_ratio > 1.1
    assert found["jacobian"].step_ratio > 1.3, "a second backward pass"
    assert found["jacobian"].memory_bytes > 0
    for cost in found.values():
        assert cost.spread[0] <= cost.step_ratio <= cost.spread[1]


def test_memory_is_counted_the_same_twice_and_nothing_stays_changed() -> None:
    state, threads, frozen = torch.get_rng_state(), torch.get_num_threads(), gc.get_freeze_count()
    plan = design(arms=("none", "cap", "dropout"))
    first, again = ([c.memory_bytes for c in costs(MadeSubject(), plan)] for _ in range(2))
    assert first == again
    assert torch.equal(state, torch.get_rng_state())
    assert (torch.get_num_threads(), gc.get_freeze_count()) == (threads, frozen)


def test_known_bytes_are_found() -> None:
    """An arm that keeps 1,000 float32 from step to step, and a step that keeps 500 more for its backward pass."""
    from opnorm.experiment.claims.measuring.memory import kept_bytes, only_new_objects

    class Plain:
        def __init__(self, held: int, saved: int) -> None:
            self.weight = torch.nn.Parameter(torch.ones(10))
            self.optimizer = torch.optim.SGD([self.weight], lr=0.1)
            self.held, self.saved = torch.zeros(held), saved

        def step(self) -> None:
            self.optimizer.zero_grad()
            ones = torch.ones(self.saved).requires_grad_()
            (self.weight.sum() + ones.exp().sum()).backward()
            self.optimizer.step()

    with only_new_objects():
        plain, more = (kept_bytes(lambda size=size: Plain(*size))[1] for size in ((1, 1), (1001, 501)))
    assert more - plain == 4 * (1000 + 500)


def test_an_arm_that_cannot_start_says_why() -> None:
    (cost,) = costs(MadeSubject(tokens=True), design(arms=("none", "jacobian")))
    assert cost.step_ratio is None
    assert "derivative" in cost.note
