"""A 2 GB bfloat16 checkpoint of 4096×4096 power-law matrices: time and memory of `opnorm measure`.

The yardstick is one read of the file with its conversion to float32. Each tensor is the same matrix under its
own permutation of rows, so that all have the same norm and different bytes. `--tensors N` (64) sets the size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np
from matrices import power_law

SIDE = 4096


def write(path: Path, tensors: int) -> None:
    rng = np.random.default_rng(0)
    matrix = power_law(SIDE, SIDE, rng).astype(ml_dtypes.bfloat16)
    size = matrix.nbytes
    header = {
        f"layers.{i}.weight": {"dtype": "BF16", "shape": [SIDE, SIDE], "data_offsets": [i * size, (i + 1) * size]}
        for i in range(tensors)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(tensors):
            file.write(matrix[rng.permutation(SIDE)].tobytes())


YARDSTICK = """
import sys, numpy as np, ml_dtypes
with open(sys.argv[1], "rb") as file:
    file.seek(8 + int.from_bytes(file.read(8), "little"))
    buffer = np.empty(4096 * 4096, np.uint16)
    total = np.empty((4096, 4096), np.float32)
    while file.readinto(buffer.data):
        total[...] = buffer.view(ml_dtypes.bfloat16).reshape(4096, 4096)
"""


def timed(command: list[str]) -> tuple[float, int, str]:
    """Seconds, peak resident bytes and output of a child process."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nprint(done.stdout)"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    memory, _, out = done.stdout.partition("\n")
    return time.perf_counter() - began, int(memory) * 1024, out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tensors", type=int, default=64)
    parser.add_argument("--folder", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "model.safetensors"
        write(path, options.tensors)
        timed([sys.executable, "-c", YARDSTICK, str(path)])  # warms the page cache
        read, _, _ = timed([sys.executable, "-c", YARDSTICK, str(path)])
        measured, peak, out = timed([sys.executable, "-m", "opnorm", "measure", str(path), "--json", "-"])
        rows = json.loads(out)["rows"]
    allowed = 3 * SIDE * SIDE * 8 + 300 * 2**20
    print(f"{options.tensors} tensors, {options.tensors * SIDE * SIDE * 2 / 2**30:.2f} GiB of bfloat16")
    print(f"read and convert {read:.2f} s; opnorm measure {measured:.2f} s; ratio {measured / read:.2f}")
    print(f"peak memory {peak / 2**20:.0f} MiB; three tensors in float64 and 300 MiB are {allowed / 2**20:.0f} MiB")
    widest = max((r["upper"] - r["lower"]) / r["lower"] for r in rows)
    print(f"widest bracket {widest:.1e}; passes {sorted({r['passes'] for r in rows})}; {rows[0]['evidence']}")


if __name__ == "__main__":
    main()
