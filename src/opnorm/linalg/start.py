"""The random start block. Drawn in float64, where a Gaussian is never exactly 0 in practice, unlike float32."""

from __future__ import annotations

import secrets

import numpy as np

from opnorm.linalg.rounding import Float64


def fresh_seed() -> int:
    """128 bits of entropy from the operating system."""
    return secrets.randbits(128)


def start_block(rows: int, width: int, seed: int, key: bytes = b"") -> Float64:
    """Independent standard normals (rows, width) from a generator keyed by `seed` and `key`.

    `key` is the SHA-256 of the weights' bytes where the same file must give the same result; the
    probability bounds hold for weights that do not depend on the start.
    """
    words = [int.from_bytes(key[i : i + 4], "little") for i in range(0, len(key), 4)]
    sequence = np.random.SeedSequence([seed, *words])
    return np.random.Generator(np.random.PCG64DXSM(sequence)).standard_normal((rows, width))
