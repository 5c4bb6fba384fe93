"""Run the ten examples by the command line, and write what came out: docs/trials/*.json and the docs' tables.

    python examples/trials/fetch.py                 # once: the data
    python examples/trials/run_all.py               # all ten; or names: run_all.py loans fashion
    python examples/trials/run_all.py --tables      # only the tables, from docs/trials

Each example is one `opnorm trial` whose design is fixed in `EXAMPLES` before anything is trained. Pages, whole
reports and journals go to .cache/trials: a killed run goes on where it stopped, and a finished one is only read
again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import python_source
import summary

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / ".cache" / "trials"
DOCS = ROOT / "docs" / "trials"

ARMS = "none,l2,dropout,early_stopping,cap,cap+l2"
MOST_ARMS = "none,l2,dropout,cap,cap+l2,torch_spectral_norm"
DESIGN = ("--seeds", "20", "--conditions", "full,small,noise", "--arms", f"{ARMS},torch_spectral_norm")
MANY_ROWS = ("--seeds", "12", "--epochs", "15", "--conditions", "full,small,noise", "--arms", MOST_ARMS)
SHORT = ("--arms", ARMS, "--seeds", "12", "--conditions", "full")
SHORTER = ("--arms", "none,l2,dropout,cap,cap+l2", "--seeds", "10", "--conditions", "full")
JOBS = ("--jobs", "2")


@dataclass(frozen=True, slots=True)
class Example:
    """One trial. title, predicts: for the tables. data, design: arguments of `opnorm trial`, declared here."""

    name: str
    domain: str
    title: str
    predicts: str
    data: tuple[str, ...]
    design: tuple[str, ...] = DESIGN

    @property
    def command(self) -> list[str]:
        """What is run in the project's folder, after `opnorm`."""
        place = f"{os.path.relpath(OUT, ROOT)}/{self.name}"
        outputs = ("--journal", f"{place}.jsonl", "--html", f"{place}.html", "--json", f"{place}.json")
        return ["trial", *self.data, *self.design, *JOBS, *outputs]


def table(name: str, target: str, *options: str) -> tuple[str, ...]:
    """Arguments for a table that examples/trials/NAME.py writes."""
    return ("--data", f".cache/trials/{name}.csv", "--target", target, *options)


def script(name: str) -> tuple[str, ...]:
    """Arguments for a file with `build_model` and `load_data`."""
    return (f"examples/trials/{name}.py",)


IMBALANCED = ("--metric", "roc_auc")

EXAMPLES = (
    Example("breast_cancer", "health", "Breast cancer", "malignant?", ("--data", "breast_cancer")),
    Example("actg175", "health", "ACTG 175", "decline in two years?", table("actg175", "declined", *IMBALANCED)),
    Example(
        "german_credit",
        "finance",
        "German credit",
        "repaid?",
        table("german_credit", "creditability", *IMBALANCED),
    ),
    Example("loans", "finance", "Loan applications", "approved?", table("loans", "approve", *IMBALANCED)),
    Example(
        "flights",
        "transport",
        "New York flights",
        "over 15 minutes late?",
        table("flights", "late", "--group", "date", *IMBALANCED),
        MANY_ROWS,
    ),
    Example(
        "bikes", "transport", "Bike sharing", "bicycles on hire", table("bikes", "bikers", "--group", "day"), MANY_ROWS
    ),
    Example("digits", "images", "Digits, 8×8", "which digit?", ("--data", "digits", "--model", "cnn"), MANY_ROWS),
    Example("fashion", "images", "Fashion-MNIST, 2,000", "which garment?", script("fashion"), SHORT),
    Example("power", "time series", "Italian power demand", "winter or summer?", script("power")),
    Example("python_source", "language", "Python's own source", "the next character", script("python_source"), SHORTER),
)


def prepare(example: Example) -> None:
    """Write the example's table, where it has one."""
    if f".cache/trials/{example.name}.csv" in example.data:
        subprocess.run([sys.executable, HERE / f"{example.name}.py"], check=True)


def fingerprint(example: Example) -> str:
    """SHA-256 of the table or the text that was used; '' where the report's own `subject` says it."""
    if example.name == "python_source":
        return python_source.digest()
    data = OUT / f"{example.name}.csv"
    return hashlib.sha256(data.read_bytes()).hexdigest() if data.exists() else ""


def run(example: Example) -> None:
    """One trial, and its digest in docs/trials; the seconds are of all runs that its journal needed."""
    prepare(example)
    print(f"\n{example.name}: opnorm {shlex.join(example.command)}", file=sys.stderr, flush=True)
    clock = OUT / f"{example.name}.seconds"
    start, before = time.monotonic(), float(clock.read_text()) if clock.exists() else 0.0
    try:
        subprocess.run([sys.executable, "-m", "opnorm", *example.command], cwd=ROOT, check=True)
    finally:
        seconds = before + time.monotonic() - start
        clock.write_text(f"{seconds:.1f}")
    report = json.loads((OUT / f"{example.name}.json").read_text())
    command = f"opnorm {shlex.join(example.command)}"
    about = {"example": example.name, "command": command, "seconds": round(seconds), "data": fingerprint(example)}
    digest = summary.digest(report, about)
    DOCS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(digest, ensure_ascii=False, allow_nan=False).replace('{"claim": ', '\n{"claim": ')
    (DOCS / f"{example.name}.json").write_text(text + "\n")


def tables() -> None:
    """The tables in the docs, from every digest there is."""
    kept = [(example, DOCS / f"{example.name}.json") for example in EXAMPLES]
    found = [
        (example.domain, example.title, example.predicts, json.loads(path.read_text()))
        for example, path in kept
        if path.exists()
    ]
    page = ROOT / "docs" / "when_does_it_help.md"
    page.write_text(summary.between_markers(page.read_text(), summary.sections(found)))


def main() -> None:
    """Run what is named, or all."""
    names = [example.name for example in EXAMPLES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--tables", action="store_true", help="run nothing, write the tables again")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(names)
    if unknown:
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    OUT.mkdir(parents=True, exist_ok=True)
    failed = []
    for example in EXAMPLES:
        if not chosen.tables and (not chosen.names or example.name in chosen.names):
            try:
                run(example)
            except subprocess.CalledProcessError as error:
                failed.append(f"{example.name} (exit code {error.returncode})")
    tables()
    if failed:
        sys.exit(f"not finished: {', '.join(failed)}; the same command goes on from their journals")


if __name__ == "__main__":
    main()
