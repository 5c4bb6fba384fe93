"""Reports: what is said where, checked on runs whose outcome is known."""

import json
import math
from types import SimpleNamespace

import torch
from torch import nn

from opnorm.constraint.cadence import Clock
from opnorm.constraint.diagnosis.advice import FEW, advise, report
from opnorm.constraint.diagnosis.history import History, summaries
from opnorm.constraint.outcome import outcome


def summary(*, active=1, top=1.2, after=1.0, hi=1.0, removed=0.01, push=0.5, ranks=(10, 10), moves=100, skipped=0):
    """Of a history with constant figures, a square weight of the stable ranks given and such a push."""
    history = History("fc")
    for i in range(moves):
        rank = ranks[0] + (ranks[1] - ranks[0]) * i / (moves - 1)
        weight = torch.eye(4) * math.sqrt(rank / 4) * after
        normal = (torch.eye(4, 1), torch.eye(4, 1))
        gradient = -torch.tensor([push, math.sqrt(1 - push**2), 0, 0]).reshape(1, 4) * torch.eye(4, 1)
        values = (top, after, removed, active, skipped)
        history.record(i, outcome(*(torch.tensor(float(v)) for v in values)), 0.0, hi, gradient, normal, weight)
    return summaries([history])[0]


def said(*, technique="cap", first=None, free=None, **figures):
    return "\n".join(advise(summary(**figures), technique, first, free))


def test_a_tight_ceiling_is_named_with_its_reasons():
    words = said(first=3.2, free=1.6)
    assert "likely too tight" in words
    assert "began at 3.2" in words
    assert "try 1.6, its free-run level" in words
    assert "penalize" in words
    assert "opnorm.suggest" in said()


def test_a_falling_stable_rank_alone_is_enough():
    assert "too tight" in said(push=0.0, ranks=(40, 5))
    assert "too tight" not in said(push=0.0)
    assert "too tight" not in said(push=-0.8)


def test_nothing_is_said_where_all_is_well():
    assert said(active=0, push=0.0, top=0.9, after=0.9) == ""
    assert said(moves=FEW - 1) == ""
    assert said(hi=math.inf) == ""
    assert said(technique="watch", hi=math.inf) == ""
    assert said(technique="orthogonal", after=1.0) == ""


def test_other_advice():
    assert "does nothing" in said(active=0, top=0.2, after=0.2)
    assert "warmup=opnorm.anneal" in said(removed=0.5)
    assert "smaller every=" in said(after=1.4, top=1.5)
    assert "not finite" in said(skipped=1)
    assert "raise weight=" in said(technique="penalty", active=0, top=4, after=4)


def stub(histories, technique="cap", share=0.0):
    held = [
        SimpleNamespace(
            site=SimpleNamespace(name=h.name, rule=SimpleNamespace(technique=technique), frozen=False),
            history=h,
            first=3.2,
        )
        for h in histories
    ]
    clock = Clock()
    clock.moving, clock.total = share * 100, 100.0
    return SimpleNamespace(held=held, clock=clock, steps=100, unheld=(("head.weight", "tied to wte"),))


def trained(ceiling, *, radial=False, steps=120):
    """A small classifier under an exact ceiling: easy labels, so that the loss knows what it wants."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 16, generator=g)
    y = (x @ torch.randn(16, 4, generator=g)).argmax(1)
    weights = [torch.randn(s, generator=g).div_(4).requires_grad_() for s in ((32, 16), (4, 32))]
    histories = [History("hidden.weight"), History("head.weight")]
    optimizer = torch.optim.Adam(weights, 3e-3)
    for step in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy((x @ weights[0].T).relu() @ weights[1].T, y).backward()
        optimizer.step()
        for history, weight in zip(histories, weights, strict=True):
            exact_move(history, step, weight, ceiling, radial)
    return histories


def exact_move(history, step, weight, ceiling, radial):
    with torch.no_grad():
        u, s, vt = torch.linalg.svd(weight, full_matrices=False)
        new = weight * min(1.0, ceiling / float(s[0])) if radial else (u * s.clamp(max=ceiling)) @ vt
        change, at = (new - weight).norm(), s >= 0.999 * ceiling
        weight.copy_(new)
        result = outcome(s[0], s[0].clamp(max=ceiling), change, (s > ceiling).sum(), torch.tensor(0))
        history.record(step, result, 0.0, ceiling, weight.grad, (u * at, vt.T * at), weight)


def test_a_run_under_a_tight_ceiling_is_told_from_a_free_one():
    tight, loose = report(stub(trained(0.7))), report(stub(trained(50.0)))
    assert "hidden.weight" in str(tight)
    hidden = tight.sites[0]
    assert hidden.summary.acted > 0.9
    assert hidden.summary.push > 0.1
    assert "too tight" in str(hidden)
    assert "too tight" not in str(loose)
    assert loose.sites[0].summary.push is None
    assert loose.sites[0].summary.totals.acted == 0


def test_scaling_lowers_the_stable_rank_where_clipping_does_not():
    clipped, radial = (summaries(trained(0.7, radial=r))[0] for r in (False, True))
    assert radial.ranks[-1][1] < 0.7 * clipped.ranks[-1][1]


def test_a_report_reads_as_plain_data_too():
    gate = stub(trained(0.7, steps=30), share=0.4)
    found = report(gate, free={"hidden.weight": 2.5})
    text = str(found)
    assert "try 2.5" in text
    assert "40% of the time" in text or "40.0% of the time" in text
    assert "head.weight: not held, tied to wte" in text
    assert "budget=" in text
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [s["name"] for s in data["sites"]] == ["hidden.weight", "head.weight"]
    assert data["sites"][0]["acted"] == found.sites[0].summary.acted
