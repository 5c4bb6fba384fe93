"""Reports of trials made by hand: realistic ones, broken ones, and ones whose every name is hostile.

No training: scores are drawn around effects that are known, and judged by a plain t interval. They are for looking at
the page and for testing it; they say nothing about any method.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
from scipy import stats

from opnorm.experiment.document import (
    AGAIN,
    Answer,
    Comparison,
    Cost,
    Design,
    Pair,
    Point,
    Record,
    TrialReport,
    Tried,
    Verdict,
)

ARMS = ("none", "l2", "dropout", "cap", "cap+l2")
EFFECTS = {"none": 0.0, "none@again": 0.0, "l2": 0.014, "dropout": 0.002, "cap": 0.023, "cap+l2": 0.034}
LAYERS = ("layers.0.weight", "layers.2.weight", "layers.4.weight")
STRENGTHS = {"l2": ("weight_decay",), "dropout": ("dropout",), "cap": ("cap",), "cap+l2": ("cap", "weight_decay")}
GRIDS = {
    "rate": (0.3, 1.0, 3.0),
    "weight_decay": (1e-4, 1e-3, 1e-2, 1e-1),
    "dropout": (0.1, 0.2, 0.4),
    "cap": (0.5, 1.0, 2.0, 4.0),
}
MEASURES = {  # claim: (measure, title, condition, unit, margin, spread, share of the arm's effect)
    "generalization": (
        ("test", "test score", "full", "accuracy", 0.01, 0.010, 1.0),
        ("gap", "test score minus training score", "full", "accuracy", 0.01, 0.012, 1.6),
        ("test_small", "test score, trained on a fifth", "small", "accuracy", 0.01, 0.018, 1.2),
        ("test_noise", "test score, a fifth of the labels wrong", "noise", "accuracy", 0.01, 0.020, 0.6),
    ),
    "robustness": (
        ("attacked", "test score under attack", "full", "accuracy", 0.02, 0.03, 4.0),
        ("corrupted", "test score under noise", "full", "accuracy", 0.01, 0.014, 1.5),
    ),
    "reliability": (
        ("brier", "Brier score (negated)", "full", "Brier score", 0.02, 0.03, 2.2),
        ("calibration", "calibration error (negated)", "full", "probability", 0.01, 0.012, -0.9),
    ),
    "interpretability": (("overlap", "overlap of top input directions", "full", "overlap", 0.05, 0.08, 1.0),),
    "overpenalization": (("train", "training score", "full", "accuracy", 0.01, 0.004, -0.1),),
}
QUESTIONS = {
    "generalization": ("Generalization", "Does it overfit less?"),
    "robustness": ("Robustness", "Does it withstand attack and corruption better?"),
    "reliability": ("Reliability", "Can its confidence and its training be relied on?"),
    "interpretability": ("Interpretability", "Does it learn the same from one seed to the next?"),
    "overpenalization": ("Over-penalization", "Does it fit too little?"),
}
BASE = {"test": 0.87, "test_small": 0.81, "test_noise": 0.78, "gap": -0.09, "attacked": 0.41, "corrupted": 0.78,
        "brier": -0.12, "calibration": -0.06,
        "overlap": 0.38, "train": 0.985}  # fmt: skip


def comparison(claim: str, measure: tuple, arm: str, seeds: tuple[int, ...], rng: np.random.Generator) -> Comparison:
    name, title, condition, unit, margin, spread, share = measure
    base = BASE[name] + spread * 1.5 * rng.standard_normal(len(seeds))
    moved = base + share * EFFECTS.get(arm, 0.01) + spread * rng.standard_normal(len(seeds))
    pairs = tuple(Pair(s, float(b), float(a)) for s, b, a in zip(seeds, base, moved, strict=True))
    return judged(claim, name, title, condition, arm, pairs, margin, unit)


def judged(
    claim: str, name: str, title: str, condition: str, arm: str, pairs: tuple[Pair, ...], margin: float, unit: str
) -> Comparison:
    """A plain t interval and its answer: no Holm, no permutation; that is for the real thing."""
    moves = np.array([p.arm - p.baseline for p in pairs])
    if len(moves) < 2:
        return undecided(claim, name, title, condition, arm, pairs, margin, unit)
    mean, error = float(moves.mean()), float(moves.std(ddof=1)) / math.sqrt(len(moves))
    t = stats.t(len(moves) - 1, mean, max(error, 1e-12))
    low, high = map(float, t.interval(0.95))
    answer = Answer.HELPS if low > margin else Answer.HURTS if high < -margin else Answer.OPEN
    answer = Answer.SAME if -margin < low and high < margin else answer
    worse, better = float(t.cdf(-margin)), float(t.sf(margin))
    differs, same = min(1.0, 2 * min(float(t.cdf(margin)), float(t.sf(-margin)))), max(float(t.sf(margin)), worse)
    needed = min(400, math.ceil(min((2.8 * error * math.sqrt(len(moves)) / max(margin, 1e-9)) ** 2, 1e6)) + 3)
    return Comparison(
        *(claim, name, title, condition, arm, "none", pairs, margin, unit, mean, (low, high), 0.95),
        bootstrap=(low + error / 5, high - error / 5), p_differs=differs, p_same=same, level=0.05 / 4,
        better=better, same=1 - better - worse, worse=worse, answer=answer,
        needed=needed if answer is Answer.OPEN else None,
    )  # fmt: skip


def undecided(
    claim: str, name: str, title: str, condition: str, arm: str, pairs: tuple[Pair, ...], margin: float, unit: str
) -> Comparison:
    """As where every training failed."""
    return Comparison(
        *(claim, name, title, condition, arm, "none", pairs, margin, unit, None, None, 0.95),
        *(None, None, None, None, None, None, None, Answer.OPEN),
        left_out=tuple(f"seed {i}: {arm}" for i in range(10)),
        note="the arm failed in more than half of the seeds",
    )


def verdict(claim: str, arms: tuple[str, ...], seeds: tuple[int, ...]) -> Verdict:
    rng = np.random.default_rng(len(claim))
    used = seeds if claim != "interpretability" else seeds[: len(seeds) // 2]
    found = tuple(comparison(claim, m, a, used, rng) for m in MEASURES[claim] for a in arms if a != "none")
    said = "; ".join(f"{c.arm} {c.answer}" for c in found if (c.title, c.condition) == MEASURES[claim][0][1:3])
    title, question = QUESTIONS[claim]
    sentence = f"{title}: {said} ({MEASURES[claim][0][1].lower()}, {len(used)} seeds)."
    notes = ("Pairs of seeds, so half as many differences as seeds.",) if claim == "interpretability" else ()
    return Verdict(claim, title, question, MEASURES[claim][0][0], sentence, found, notes)


def record(arm: str, seed: int, condition: str, epochs: int, rng: np.random.Generator) -> Record:
    names = ("rate", *STRENGTHS.get(arm, ()))
    tried = tuple(
        Tried({n: float(rng.choice(GRIDS[n])) for n in names}, float(0.86 + 0.02 * rng.random()), 0.98)
        for _ in range(4)
    )
    score = BASE["test"] + EFFECTS[arm] + 0.012 * rng.standard_normal() - 0.06 * (condition != "full")
    scores = {name: float(value + 0.01 * rng.standard_normal()) for name, value in BASE.items()} | {"test": score}
    return Record(
        *(arm, seed, condition, max(tried, key=lambda t: t.validation).setting, tried if condition == "full" else ()),
        scores=scores,
        spectrum={"layers.0.weight": (2.1, 1.4, 0.6)},
        curve=curve(arm, epochs, score, rng),
        examples=(640, 200),
        test=f"{seed:064x}",
        steps=epochs * 10,
        seconds=0.8 + rng.random(),
    )


def curve(arm: str, epochs: int, score: float, rng: np.random.Generator) -> tuple[Point, ...]:
    held = 2.0 if "cap" in arm else 9.0 if arm != "l2" else 5.0
    grown = [1.0 + rng.random() * 0.2 for _ in LAYERS]
    points = []
    for epoch in range(1, epochs + 1):
        reached = 1 - math.exp(-epoch / 6)
        norms = {
            n: min(g * (1 + 0.33 * epoch * (i + 1) / 2), held * (1 + 0.3 * i * (held > 3)))
            for i, (n, g) in enumerate(zip(LAYERS, grown, strict=True))
        }
        worse = 0.03 * max(0, epoch - 14) / 16 if arm == "none" else 0.0
        level = 0.5 + (score - 0.5) * reached - worse + 0.006 * rng.standard_normal()
        points.append(Point(epoch, 0.7 * math.exp(-epoch / 8), level, norms))
    return tuple(points)


def failed(arm: str, seed: int, condition: str = "full") -> Record:
    points = (Point(1, 0.9, 0.51, dict.fromkeys(LAYERS, 4.0)), Point(2, None, None, {}))
    tried = (Tried({"rate": 3.0}, None, None, "diverged in epoch 2: the loss is not finite"),) * 4
    return Record(arm, seed, condition, {}, tried, "every setting diverged: the loss is not finite", curve=points)


def full(arms: tuple[str, ...] = ARMS, seeds: int = 10, epochs: int = 30, **given: object) -> TrialReport:
    """Everything there: five arms, ten seeds, three conditions, a control, failures, values that do not apply."""
    return replace(_full(arms, seeds, epochs), **given)  # type: ignore[arg-type]


@cache
def _full(arms: tuple[str, ...], seeds: int, epochs: int) -> TrialReport:
    rng, drawn = np.random.default_rng(7), tuple(range(seeds))
    conditions = ("full", "small", "noise")
    design = Design(arms, drawn, "accuracy", 0.01, conditions=conditions, claims=tuple(MEASURES), epochs=epochs)
    cells = [(a, s, c) for s in drawn for c in conditions for a in (*arms, f"none@{AGAIN}")]
    records = [record(a, s, c, epochs, rng) for a, s, c in cells if c == "full" or not a.endswith(AGAIN)]
    records = [failed(r.arm, r.seed, r.condition) if (r.arm, r.seed) == ("dropout", 4) else r for r in records]
    records[0] = replace(records[0], scores={**records[0].scores, "attacked": None}, notes=("no attack: tokens",))
    controls = tuple(
        comparison(c, m, "none@again", drawn, np.random.default_rng(3)) for c in list(MEASURES)[:3] for m in MEASURES[c]
    )
    verdicts = tuple(verdict(c, arms, drawn) for c in MEASURES)
    return TrialReport(
        "0.6.0",
        "opnorm trial --data credit.csv --target default --seeds 10 --html trial.html",
        {"data": "credit.csv", "target": "default", "task": "binary", "examples": 1000, "features": 20,
         "model": "mlp, 2 hidden layers of 64", "parameters": 5761, "share of the rarer class": 0.3},
        design, verdicts, controls, costs(arms), tuple(records),
        winner="cap+l2" if "cap+l2" in arms else "",
        apply="from opnorm import SpectralClassifier\n\nmodel = SpectralClassifier(cap=2.0, weight_decay=0.01)\n"
        "model.fit(X, y)\n",
        untested=("Certified radius: opnorm proves none yet.", "Other data than credit.csv, other models than mlp.",
                  "Attacks stronger than ten steps of projected gradient descent."),
        notes=(),
        environment={"opnorm": "0.6.0", "torch": "2.13.0", "numpy": "2.4.0", "threads": "1 a worker"},
        spectral=tuple(a for a in arms if "cap" in a),
    )  # fmt: skip


def costs(arms: tuple[str, ...]) -> tuple[Cost, ...]:
    ratios = {"l2": (1.01, 0.98, 1.05), "dropout": (1.06, 1.02, 1.13), "cap": (1.22, 1.15, 1.31)}
    ratios |= {"cap+l2": (1.24, 1.17, 1.35)}
    found = [
        Cost(a, r, (low, high), 81_920 * i) for i, a in enumerate(arms) for r, low, high in [ratios.get(a, (1, 1, 1))]
    ]
    return (*(c for c in found if c.arm != "none"), Cost("jacobian", None, None, None, "needs second derivatives"))


def one_arm() -> TrialReport:
    """The smallest real trial: one arm, six seeds, one condition, no control."""
    return full(("none", "cap"), 6, 12, controls=(), winner="", apply="")


def bare() -> TrialReport:
    """A design and nothing else: interrupted before the first cell."""
    nothing: dict[str, object] = {"verdicts": (), "controls": (), "costs": (), "records": (), "winner": "", "apply": ""}
    return full(complete=False, untested=(), environment={}, subject={}, command="", spectral=None, **nothing)


def all_failed() -> TrialReport:
    """Every training of every arm but the baseline failed."""
    base = full(("none", "cap"), 6, 5)
    gone = [undecided("generalization", *MEASURES["generalization"][0][:3], "cap", (), 0.01, "")]
    told = replace(base.verdicts[0], comparisons=tuple(gone), sentence="Generalization: cap failed in all seeds.")
    records = tuple(failed(r.arm, r.seed, r.condition) if r.arm == "cap" else r for r in base.records)
    return replace(base, verdicts=(told,), records=records, winner="", apply="", controls=())


def extreme() -> TrialReport:
    """Numbers at the ends of what can occur: no margin, no spread, huge and tiny values, one pair, no pair."""
    base = full(("none", "cap"), 6, 3)
    sizes = (0.0, 1e-9, 1e9, 1e-150, 1e150)
    made = []
    for i, size in enumerate(sizes):
        pairs = tuple(Pair(s, 1.0, 1.0 + size * (s - 2)) for s in range(6))
        made.append(judged("generalization", f"m{i}", f"Measure {i}", "full", "cap", pairs, size / 3, "s²" * i))
    made += [judged("generalization", "one", "One pair", "full", "cap", (Pair(0, 0.0, 1.0),), 0.1, "")]
    made += [undecided("generalization", "none", "No pair", "full", "cap", (), 0.1, "")]
    return replace(base, verdicts=(replace(base.verdicts[0], lead="m0", comparisons=tuple(made)),))


HOSTILE = (
    *("<script>window.hacked=1</script>", "</script><script>window.hacked=1</script>", "--><b onclick=alert(1)>"),
    *("<img src=x onerror='window.hacked=1'>", '"><svg onload="window.hacked=1">', "{{ 7*7 }}", "{% raw %}", "<!--"),
    *("\u202egnp.evil", "\x1b[31mred\x1b[0m", "\x07\r\n", "\ud800", "e" + "\u0301" * 200, "a" * 5000, "", " " * 90),
    *("__proto__", "constructor", "&lt;b&gt;", "[bold red]rich[/]", "日本語の重み", "=cmd|' /C calc'!A0", "\u200b"),
)


def hostile() -> TrialReport:
    """Every text in the report is one of `HOSTILE`."""
    base, names = full(("none", "cap", "l2", "cap+l2"), 6, 4), iter(HOSTILE * 10_000)
    arms = dict(zip(base.design.arms, HOSTILE[1:], strict=False)) | {"none@again": "none@again<b>"}

    def compared(c: Comparison) -> Comparison:
        texts = {"title": next(names), "unit": next(names), "note": next(names), "claim": next(names)}
        left = (next(names), next(names))
        return replace(c, arm=arms[c.arm], baseline=arms["none"], left_out=left, measure=next(names), **texts)

    def recorded(r: Record) -> Record:
        scores = dict(zip(HOSTILE, (1.0, None, -2.0), strict=False)) | {"test": 0.5}
        curve = tuple(replace(p, norms={next(names): 1.5 + p.epoch, "x": 2.0}) for p in r.curve)
        tried = (Tried({next(names): 1.0, next(names): 3.0}, 0.5, 0.6, next(names)),)
        setting = {HOSTILE[2]: 1.0, HOSTILE[9]: 10.0}
        return replace(r, arm=arms[r.arm], scores=scores, curve=curve, tried=tried, setting=setting,
                       failure=next(names) if r.seed == 1 else "", notes=(next(names),))  # fmt: skip

    verdicts = tuple(
        replace(v, claim=next(names), title=next(names), question=next(names), sentence=next(names),
                comparisons=tuple(map(compared, v.comparisons)), notes=(next(names),))
        for v in base.verdicts
    )  # fmt: skip
    return replace(
        base, version=HOSTILE[0], command="opnorm " + HOSTILE[1], verdicts=verdicts,
        subject={k: HOSTILE[i] for i, k in enumerate(HOSTILE)}, environment={k: k for k in HOSTILE},
        design=replace(base.design, arms=tuple(arms.values()), metric=HOSTILE[3], tuner=HOSTILE[4]),
        controls=tuple(map(compared, base.controls)), costs=tuple(Cost(h, 1.0, None, 3, h) for h in HOSTILE),
        records=tuple(map(recorded, base.records)), winner=HOSTILE[2], apply="\n".join(HOSTILE),
        untested=HOSTILE, notes=HOSTILE, spectral=(arms["cap"],),
    )  # fmt: skip
