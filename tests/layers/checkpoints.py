"""Made-up checkpoints for the tests of layer rules: names and shapes → entries, and what each row must say."""

from __future__ import annotations

import numpy as np

from opnorm.bound import Evidence
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.readers.naming import plan

SLACK = 1e-9


def made(shapes, seed=0, dtype=np.float32):
    """Tensors of the given shapes, standard normal; whole-number dtypes by (shape, dtype)."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


class Planned:
    """The plan of made-up tensors, whose rows are looked up by name and measured on demand."""

    def __init__(self, arrays, config=None, input_shape=None):
        self.arrays = arrays
        tensors = MemoryCheckpoint(arrays).tensors
        self.layers = plan(tensors, config, input_shape)
        self.entries = {e.name: e for layer in self.layers for e in layer.entries}
        every = [e for layer in self.layers for e in layer.entries]
        assert len(self.entries) == len(every), "two rows of one name"
        self._every_byte_once()

    def _every_byte_once(self):
        """Each tensor stands in rows that are not derived, all of one layer, and a layer reads what it needs."""
        homes = {}
        for number, layer in enumerate(self.layers):
            for entry in layer.entries:
                for tensor in entry.tensors if not entry.derived else ():
                    homes.setdefault(tensor, set()).add(number)
                assert entry.build is None or set(entry.tensors) <= set(layer.needs)
                assert (entry.status != "weight") or entry.build is not None
                assert entry.status in ("weight", "optimizer") or entry.reason
        assert set(homes) == set(self.arrays)
        assert all(len(home) == 1 for home in homes.values())

    def __getitem__(self, name):
        return self.entries[name]

    def __contains__(self, name):
        return name in self.entries

    def named(self, word):
        """The rows whose names contain a word, in the order of the plan."""
        return [name for name in self.entries if word in name]

    def measured(self, name, evidence="proved", width=0.01):
        entry = self.entries[name]
        arrays = {tensor: self.arrays[tensor] for tensor in entry.tensors}
        operator = aslinearoperator(entry.build(arrays))
        return measure_operator(operator, Request(Evidence.parse(evidence), width)).bracket(evidence)

    def beside(self, name, number):
        entry = self.entries[name]
        also = next(a for a in entry.also if a.name == number)
        return also.find({t: self.arrays[t] for t in entry.tensors}, Request())

    def check(self, name, matrix, evidence="proved"):
        """The row's bracket at this evidence holds the norm of an explicit matrix, and is at most 1% wide."""
        bracket, truth = self.measured(name, evidence), np.linalg.norm(np.asarray(matrix, dtype=np.float64), 2)
        assert bracket.lower <= truth * (1 + SLACK)
        assert bracket.upper >= truth * (1 - SLACK)
        assert bracket.width <= 0.01
        assert self.entries[name].status == "weight"
