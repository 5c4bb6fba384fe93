"""`python benchmarks/control/faults.py`: faults of training × techniques, as Markdown; torch's own rows beside.

A cell says whether control made a finite weight non-finite (*spoiled*), and whether, once the weights of before the
fault were put back, all served weights were not finite or above 1.1 times the ceiling at the end (*lost*). Cases:
`tests/constraint/faulty.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "constraint"))

from faulty import FAULTS, GATES, run

TECHNIQUES = (*GATES, "normalize", "penalty", "torch spectral_norm", "torch orthogonal")


def cell(fault: str, technique: str) -> str:
    try:
        spoiled, recovered = run(fault, technique)
    except RuntimeError as error:
        return f"raises {type(error).__name__}"
    return (
        "ok"
        if recovered and not spoiled
        else " and ".join(words for words, said in (("spoiled", spoiled), ("lost", not recovered)) if said)
    )


def main() -> None:
    print(f"| fault | {' | '.join(TECHNIQUES)} |")
    print("|" + "---|" * (len(TECHNIQUES) + 1))
    for fault in FAULTS:
        print(f"| {fault} | {' | '.join(cell(fault, t) for t in TECHNIQUES)} |", flush=True)


if __name__ == "__main__":
    main()
