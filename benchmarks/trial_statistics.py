"""`python benchmarks/trial_statistics.py [--trials 4000]`: the verdict rules of the trial on differences of known mean.

False verdicts, power and coverage, over true effects, noise shapes, numbers of seeds and of arms, and redrawn splits;
prints Markdown tables. One core, some five minutes. A rate r of N trials is uncertain by 2·√(r(1 − r)/N): ±0.7
points at 5 % of 4,000; ±2 of 500, as for 20 seeds. Coverage of the bootstrap, of 100 trials, is uncertain by ±6.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trial"))

from trial_noise import (
    LIMITS,
    SKEWED,
    SYMMETRIC,
    TICKS,
    arms,
    correlated,
    family,
    judged,
    resampled,
    standard,
    ticks,
)

from opnorm.experiment.statistics import weights_of
from opnorm.experiment.statistics.bootstrap import bca
from opnorm.experiment.statistics.holm import levels
from opnorm.experiment.statistics.power import seeds_needed
from opnorm.experiment.statistics.sample import Sample

SEEDS = (6, 8, 10, 20)
MARGINS = (0.5, 1.5)
SHAPES = (*SYMMETRIC, *TICKS, *SKEWED, *LIMITS)


def effects(margin):
    return (-2 * margin, -margin, 0.0, margin / 2, margin, 2 * margin)


def trials_of(seeds, trials):
    return max(100, trials // 8) if seeds > 16 else trials


def rng_of(*keys):
    return np.random.default_rng([sum(map(ord, str(key))) for key in keys])


def percent(value):
    return f"{100 * value:.1f}"


def table(title, heads, rows):
    print(f"\n### {title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def of_shape(shape, seeds, trials, cases, ends=False):
    """Judgements of noise of a shape; ticks are drawn for each effect, since it changes their distribution."""
    size = (trials_of(seeds, trials), seeds)
    if shape not in TICKS:
        return judged(standard(rng_of(shape, seeds), shape, size), cases, ends=ends)
    found = []
    for margin, delta in cases:
        values = ticks(rng_of(shape, seeds, margin, delta), shape, delta, size)
        if values is not None:
            found += judged(values - delta, [(margin, delta)], ends=ends)
    return found


def one_shape(shape, seeds, trials):
    """Worst false rates over margins and true effects; power by (margin, effect)."""
    found = of_shape(shape, seeds, trials, [(margin, delta) for margin in MARGINS for delta in effects(margin)])
    worst = [max(column) for column in zip(*(one.false() for one in found), strict=True)]
    return worst, {(one.margin, one.delta): one.rates() for one in found}


def bootstrap_coverage(shape, seeds, trials=100):
    draw, keys = rng_of("bca", shape, seeds), (trials, seeds)
    values = ticks(draw, shape, 0.0, keys) if shape in TICKS else standard(draw, shape, keys)
    inside = 0
    for row in values:
        low, high = bca(Sample(row, 0.0, 1e-12), 0.95)
        inside += low <= 0 <= high
    return inside / trials


def fixed_splits(trials):
    for seeds in SEEDS:
        rows = []
        for shape in SHAPES:
            worst, power = one_shape(shape, seeds, trials)
            (covered,) = (one.covers() for one in of_shape(shape, seeds, trials, [(0.5, 0.0)], ends=True))
            none = (math.nan,) * 3
            powers = power[0.5, 1.0][0], power.get((1.5, 3.0), none)[0], power[1.5, 0.0][2]
            rows.append([shape, *map(percent, worst), *map(percent, powers), percent(covered)])
            rows[-1].append(percent(bootstrap_coverage(shape, seeds)))
        heads = ["noise", "false helps", "false hurts", "false same", "helps, m = ½, δ = 1", "helps, m = 1½, δ = 3"]
        table(
            f"{seeds} seeds, one fixed split, one comparison, %", [*heads, "same, m = 1½, δ = 0", "95 %", "BCa"], rows
        )


def several_arms(trials, seeds=10, margin=0.5):
    rows = []
    for shape in ("normal", "t3", "-exponential"):
        for name, deltas in (("4 at 0", [0] * 4), ("4 at m", [0.5] * 4), ("2 at m, 2 at 3m", [0.5, 0.5, 1.5, 1.5])):
            noise = arms(rng_of("arms", shape, name), shape, len(deltas), (trials, seeds))
            found = [judged(one, [(margin, delta)])[0] for one, delta in zip(noise, deltas, strict=True)]
            helps, hurts, same = family(found)
            null, edge = np.array(deltas) <= margin, np.abs(deltas) >= margin
            rates = [(helps & null).any(1), hurts.any(1), (same & edge).any(1), helps[:, ~null]]
            rows.append([shape, name, *(percent(r.mean()) if r.size else "–" for r in rates)])
    heads = ["noise", "true effects", "any false helps", "any false hurts", "any false same", "helps where 3m"]
    table("Four arms against one baseline, 10 seeds, m = ½, Holm, %", heads, rows)


def several_measures(trials, count=4, margin=0.5, effect=1.5):
    """Four measures, four arms: the leading measure helps in one arm, or nothing does; equal shares, or half to it."""
    rows = []
    for name, lead in (("nothing", margin), ("arm 1, leading measure", margin + effect)):
        for seeds in (10, 20):
            size = (trials_of(seeds, trials), seeds)
            noise = [n for m in range(4) for n in arms(rng_of("measures", name, m, seeds), "normal", count, size)]
            deltas = [lead] + [margin] * (4 * count - 1)
            found = [judged(one, [(margin, delta)])[0] for one, delta in zip(noise, deltas, strict=True)]
            shares = weights_of([True] * count + [False] * 3 * count)
            for said, weights in (("equal", None), ("half to the leading one", shares)):
                helps, _, _ = family(found, correction=lambda p, level, w=weights: levels(p, level, w))
                rates = helps[:, np.array(deltas) <= margin].any(1).mean(), helps[:, 0].mean()
                rows.append([name, str(seeds), said, percent(rates[0]), percent(rates[1])])
    heads = ["what truly helps", "seeds", "shares of the level", "any false helps", "arm 1 helps"]
    table("Four measures, four arms, normal, m = ½, an effect 1½ beyond it, %", heads, rows)


def redrawn_splits(trials):
    rows = []
    for overlap in (0.11, 0.25, 0.5):
        for shape in ("normal", "t3", "exponential", "-exponential", "-lognormal", "-heavy"):
            for seeds in (6, 10, 20):
                noise = correlated(rng_of(shape, overlap, seeds), shape, (trials_of(seeds, trials), seeds), overlap)
                cases = [(0.5, 0.5), (1.5, 1.5), (0.5, 2.0)]
                at, same, beyond = judged(noise, cases, overlap)
                (naive,) = judged(noise, cases[:1])
                covered = judged(noise, [(0.5, 0.0)], overlap, ends=True)[0].covers()
                shown = at.false()[0], same.false()[2], beyond.rates()[0], covered, naive.false()[0]
                rows.append([f"{overlap:g}", shape, str(seeds), *map(percent, shown)])
    heads = ["overlap", "noise", "seeds", "false helps at δ = m", "false same at δ = m", "helps at δ = m + 1½"]
    table("Redrawn splits, equicorrelated, %", [*heads, "95 % covers", "false helps without overlap"], rows)


def real_splits(trials):
    rows = []
    for kind in ("ridge", "halves", "classes", "tuned"):
        truth = float(resampled(rng_of("truth", kind), kind, 20_000, 4)[0].mean()) if kind == "ridge" else 0.0
        for seeds in (6, 10, 20):
            values, overlap = resampled(rng_of("real", kind, seeds), kind, trials_of(seeds, trials), seeds)
            correlation = np.corrcoef(values[:, 0], values[:, 1])[0, 1]
            edge = (max(truth, 0.0), truth)
            found, same = judged(values - truth, [edge, (1.0, 1.0)], overlap, ends=True)
            (naive,) = judged(values - truth, [edge])
            shown = (found.rates()[0], found.rates()[1], same.false()[2], found.covers(), naive.rates()[0])
            rows.append([kind, str(seeds), f"{correlation:.2f}", *map(percent, shown)])
    heads = ["models", "seeds", "correlation", "false helps", "false hurts", "false same", "95 % covers"]
    title = "Redrawn splits of 60 real rows (12 test, 48 training; tuned: 6 test, 12 validation, 42 training), %"
    table(title, [*heads, "false helps without overlap"], rows)


def needed(trials):
    rows = []
    for delta, margin in ((1.5, 0.5), (1.2, 0.5), (0.0, 1.0), (0.3, 1.0)):
        seeds = seeds_needed(delta, 1.0, margin, 0.0, 0.05)
        noise = standard(rng_of("needed", delta), "normal", (trials_of(seeds, trials), seeds))
        (found,) = judged(noise, [(margin, delta)])
        rows.append([f"{delta:g}", f"{margin:g}", str(seeds), percent(max(found.rates()))])
    table("Power at the number of seeds named (aim 80 %)", ["δ", "m", "seeds", "decided, %"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    trials, start = parser.parse_args().trials, time.perf_counter()
    for part in (needed, several_arms, several_measures, real_splits, redrawn_splits, fixed_splits):
        part(trials)
        print(f"\n({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
