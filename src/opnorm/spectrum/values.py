"""All singular values of an operator, with what is known of each: the one array from which everything else follows.

`Values` is what every way of finding them (`opnorm.spectrum.singular`) hands on. Where `lower` and `upper` are there,
each σᵢ lies between its two, PROVED; else the values are estimates to the rounding of their method.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from opnorm.linalg.rounding import UNIT, Float64

SINGLE = 2.0**-23
"""ε of float32, to which weights stored in 32 bits or fewer are held."""

DOUBLE = 2.0**-52

_LEAST = 2.0**-1074
"""What an upper end that underflows is at most."""


@dataclass(frozen=True, slots=True)
class Values:
    """σ₁ ≥ σ₂ ≥ … ≥ 0, min(rows, columns) of them.

    resolution: below it a value cannot be told from 0 by its method. epsilon: of the format that holds the weights.
    dense: the weights are a matrix without structure, so that random-matrix theory speaks of it. limit: a sample of
    the distribution that the singular values approach as the input grows, not the values of one operator. frobenius:
    ‖A‖_F from the entries, as measurements have it, where they were read.
    """

    sigma: Float64
    method: str
    lower: Float64 | None = None
    upper: Float64 | None = None
    resolution: float = 0.0
    epsilon: float = SINGLE
    dense: bool = False
    limit: bool = False
    note: str = ""
    frobenius: float | None = None

    @property
    def proved(self) -> bool:
        """Whether every value has its proved bracket."""
        return self.lower is not None and self.upper is not None

    @property
    def floor(self) -> float:
        """What counts as 0: the resolution of the method, and no less than the smallest normal number."""
        return max(self.resolution, 2.0**-1022)

    def positive(self) -> Float64:
        """The values above the floor, descending."""
        return self.sigma[self.sigma > self.floor]

    def times(self, exponent: int) -> Values:
        """2^exponent times the values; exact, but for what leaves the range of normal numbers."""
        if exponent == 0:
            return self
        with np.errstate(over="ignore", under="ignore"):
            lower = None if self.lower is None else _down(np.ldexp(self.lower, exponent))
            upper = None if self.upper is None else _up(_not_lost(np.ldexp(self.upper, exponent), self.upper))
            sigma = np.ldexp(self.sigma, exponent)
            resolution = float(np.ldexp(self.resolution, exponent))
            frobenius = None if self.frobenius is None else float(np.ldexp(self.frobenius, exponent))
        return replace(self, sigma=sigma, lower=lower, upper=upper, resolution=resolution, frobenius=frobenius)

    def moved(self, relative: float, absolute: float) -> Values:
        """Of an operator D₁ÂD₂ + E, from those of Â: every value moves by at most this much (Ostrowski, Weyl)."""
        lower = None if self.lower is None else _down(_down(self.lower * (1 - relative)) - absolute)
        upper = None if self.upper is None else _up(_up(self.upper * (1 + relative)) + absolute)
        return replace(self, lower=lower, upper=upper, resolution=self.resolution + absolute, frobenius=None)

    def scaled(self, size: float) -> Values:
        """`size` ≥ 0 times the values."""
        if size == 0:
            return zeros(len(self.sigma), epsilon=self.epsilon)
        with np.errstate(over="ignore", under="ignore"):
            lower = None if self.lower is None else _down(self.lower * size)
            upper = None if self.upper is None else _up(_not_lost(self.upper * size, self.upper))
            sigma, resolution = self.sigma * size, self.resolution * size
        return replace(self, sigma=sigma, lower=lower, upper=upper, resolution=resolution, frobenius=None)


def zeros(count: int, *, epsilon: float = SINGLE, dense: bool = False) -> Values:
    """Of a zero operator: exactly 0, all of them."""
    none = np.zeros(count)
    return Values(none, "zero", none, none, epsilon=epsilon, dense=dense)


def together(parts: list[Values], count: int) -> Values:
    """Of a block-diagonal operator: the union of its blocks', and zeros up to `count`."""
    sigma = _merged([part.sigma for part in parts], count)
    methods = dict.fromkeys(part.method for part in parts)
    lower = upper = None
    if all(part.proved for part in parts):  # sorting each end keeps the bracket of each rank
        lower = _merged([part.lower for part in parts if part.lower is not None], count)
        upper = _merged([part.upper for part in parts if part.upper is not None], count)
    resolution = max((part.resolution for part in parts), default=0.0)
    epsilon = max((part.epsilon for part in parts), default=SINGLE)
    return Values(sigma, ", ".join(methods), lower, upper, resolution, epsilon)


def _merged(arrays: list[Float64], count: int) -> Float64:
    everything = np.concatenate([*arrays, np.zeros(max(0, count - sum(len(a) for a in arrays)))])
    return np.sort(everything)[::-1]


def _down(values: Float64) -> Float64:
    """Lower bounds on non-negative numbers, computed with at most four roundings."""
    return np.asarray(np.where(values > 0, np.nextafter(values * (1 - 8 * UNIT), 0.0), 0.0))


def _up(values: Float64) -> Float64:
    """Upper bounds on non-negative numbers, computed with at most four roundings."""
    return np.asarray(np.where(values > 0, np.nextafter(values * (1 + 8 * UNIT), np.inf), values))


def _not_lost(products: Float64, factors: Float64) -> Float64:
    """Products with a positive number, of which those of positive factors are no less than the smallest float."""
    return np.maximum(products, np.where(factors > 0, _LEAST, 0.0))


down_each, up_each = _down, _up
