"""Kills a trial again and again at random moments, resumes it, and says how often, and whether the verdict is the same.

    python trial_run_killing.py KILLS LONGEST FOLDER [real]

Each run is a fork of this process, which has imported everything, and is ended by SIGKILL after a random part of
LONGEST seconds, of more the oftener, so that it ends on a slow machine too; a trial that is finished begins anew in
another journal until there were KILLS kills.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from trial_run_fakes import FakeCells, small_declared, small_subject, small_trial

from opnorm.experiment.run.journal import SCHEMA
from opnorm.report.trial import verdict_json


def main():
    kills, longest, folder = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    if "real" not in sys.argv:
        import opnorm.experiment.training.cell as cell

        cell.run_cell = FakeCells(wait=0.002)
    subject = small_subject()
    asked = small_declared(subject)
    report = small_trial(subject, asked)
    whole, draw = verdict_json(report).encode(), random.Random(int.from_bytes(report.winner.encode(), "big"))
    done, trials, torn, same = 0, 0, 0, True
    while done < kills:
        journal = folder / f"{trials}.jsonl"
        attempts = 0
        while _killed(subject, asked, journal, folder / "verdict", draw.uniform(0, longest * (1 + attempts / 4))):
            done, attempts = done + 1, attempts + 1
            torn += journal.exists() and not journal.read_bytes().endswith(b"\n")
        same = same and (folder / "verdict").read_bytes() == whole
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        same = same and lines[0]["schema"] == SCHEMA and len(lines) == 1 + len(report.records)
        trials += 1
    sys.stdout.write(json.dumps({"kills": done, "trials": trials, "torn": torn, "same": same, "bytes": len(whole)}))


def _killed(subject, asked, journal, verdict, seconds):
    verdict.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        verdict.write_bytes(verdict_json(small_trial(subject, asked, journal=journal)).encode())
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    main()
