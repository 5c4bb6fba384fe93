"""How much faster two workers are than one, and what a whole trial takes: cells of real trials, one thread a worker.

    python benchmarks/trial_speed.py [ROWS] [SEEDS] [TURNS]

One and two workers take turns on the same cells, each worker warmed up before (imports, about two seconds). Printed:
the ratio of times in each turn, beside that of two plain processes that only compute on this machine at that time,
which is what the machine has to give.
"""

import multiprocessing
import statistics
import sys
import time

import numpy as np

from opnorm.experiment.data import from_arrays
from opnorm.experiment.run import ceilings
from opnorm.experiment.run.cells import chains, trainings
from opnorm.experiment.run.declare import Wishes, declared
from opnorm.experiment.run.engine import workers


def subject_of(rows):
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(rows, 20)).astype(np.float32)
    targets = (inputs[:, :5].sum(1) + draw.normal(size=rows) > 0).astype(int)
    return from_arrays(inputs, targets)


def seconds(subject, design, work, jobs):
    with workers("joblib", jobs) as pool:
        warm = [chain for chain in work if chain.seed == work[0].seed][: 2 * jobs]
        list(pool.results(subject, design, warm))
        start = time.perf_counter()
        list(pool.results(subject, design, work))
        return time.perf_counter() - start


def _spin(count):
    found = 0
    for i in range(count):
        found += i * i
    return found


def plain(count=20_000_000):
    """How many times faster two processes compute than one, side by side."""
    start = time.perf_counter()
    _spin(count)
    _spin(count)
    alone = time.perf_counter() - start
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(_spin, [count, count])
    return alone / (time.perf_counter() - start)


def main():
    rows, seeds, turns = (int(given) for given in (*sys.argv[1:], *("1000", "10", "3")[len(sys.argv) - 1 :]))
    subject = subject_of(rows)
    design = declared(subject, Wishes()).design
    work = [c for c in chains(design, ceilings(design.arms), control=True) if c.seed < seeds]
    count = trainings(work, design.budget)
    print(f"{rows} rows, {len(design.arms)} arms and the control, {seeds} seeds, {count} trainings")
    ratios = []
    for turn in range(turns):
        one, two = seconds(subject, design, work, 1), seconds(subject, design, work, 2)
        ratios.append(one / two)
        print(f"turn {turn}: one {one:.1f} s, two {two:.1f} s, ratio {one / two:.2f}; plain processes {plain():.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}, best {max(ratios):.2f}")


if __name__ == "__main__":
    main()
