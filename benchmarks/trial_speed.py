"""How much faster two workers are than one, and what a whole trial takes: cells of real trials, one thread a worker.

    python benchmarks/trial_speed.py [ROWS] [SEEDS] [TURNS]

One and two workers take turns on the same cells, each warmed up before (imports, about two seconds). Beside them the
same cells in two plain processes that nothing joins: what the machine has to give at that time.
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
from opnorm.experiment.run.worker import Packed
from opnorm.experiment.run.worker import work as work_on


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


def _all_of(packed, design, work):
    return [work_on(packed, design, chain) for chain in work]


def apart(subject, design, work):
    """Seconds of two processes, each with half of the chains."""
    packed = Packed.of(subject)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_all_of, [(packed, design, [chain]) for chain in (work[0], work[0])], chunksize=1)
        start = time.perf_counter()
        pool.starmap(_all_of, [(packed, design, work[half::2]) for half in range(2)], chunksize=1)
        return time.perf_counter() - start


def main():
    rows, seeds, turns = (int(given) for given in (*sys.argv[1:], *("1000", "10", "3")[len(sys.argv) - 1 :]))
    subject = subject_of(rows)
    design = declared(subject, Wishes()).design
    work = [c for c in chains(design, ceilings(design.arms), control=True) if c.seed < seeds]
    count = trainings(work, design.budget)
    print(f"{rows} rows, {len(design.arms)} arms and the control, {seeds} seeds, {count} trainings")
    ratios = []
    for turn in range(turns):
        one, two, plain = (measured(subject, design, work) for measured in (alone, pooled, apart))
        ratios.append(one / two)
        print(f"turn {turn}: one {one:.1f} s, two {two:.1f} s, ratio {one / two:.2f}; two apart {one / plain:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}, best {max(ratios):.2f}")


def alone(subject, design, work):
    return seconds(subject, design, work, 1)


def pooled(subject, design, work):
    return seconds(subject, design, work, 2)


if __name__ == "__main__":
    main()
