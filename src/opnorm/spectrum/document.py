"""The frozen data of a layer's spectrum, directions and links: what reports render, gates judge and JSON holds.

Every number is a `Quantity`, which carries its evidence. Names of quantities are the keys of `METRICS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number: the best single value, its bracket where there is one, and how true that is.

    value: to show and to sort by; None where nothing is known (then `note` says why). lower, upper: ends of a
    bracket of evidence 'proved', 'probable' or 'estimate', None where absent. error: one standard error, of sampled
    or fitted values. note: what a reader must know, such as which singular values were left out.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    evidence: str = "estimate"
    error: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Density:
    """How singular values spread: bins of log₁₀ σ. edges: of the bins, ascending, one more than shares.

    shares: of all singular values, in each bin. errors: one standard error of each share, 0 where exact.
    zero: the share below the first edge. method: 'exact' or 'quadrature'.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    errors: tuple[float, ...]
    zero: float
    method: str


@dataclass(frozen=True, slots=True)
class NoiseEdge:
    """Marchenko–Pastur: the largest singular value that pure noise of the layer's own scale would show.

    scale: the standard deviation of an entry of the noise, and `scale_method` how it was found. edge: scale·(√m + √n).
    outliers: how many singular values lie above; lower and upper PROVED by inertia, equal where the count is exact.
    """

    scale: float
    scale_method: str
    edge: float
    outliers: Quantity


@dataclass(frozen=True, slots=True)
class Tail:
    """A power law fitted to the largest eigenvalues σ²: p(λ) ∝ λ^−alpha for λ ≥ least.

    error: one standard error. least: where the tail begins; points: how many lie in it. distance: Kolmogorov–Smirnov.
    p_value: of that distance under the fitted law, by simulation; None where not computed. favored: 'power law',
    'lognormal', 'truncated power law', 'exponential' or 'undecided', by likelihood ratio.
    """

    alpha: float
    error: float
    least: float
    points: int
    distance: float
    p_value: float | None
    favored: str


@dataclass(frozen=True, slots=True)
class Units:
    """Rows (outputs) and columns (inputs) of the matrix that do nothing, or the same as another.

    dead: exactly zero. duplicate: parallel to an earlier one to within rounding. Indices, at most the first 32 of
    each; `*_count` has them all.
    """

    dead_outputs: tuple[int, ...] = ()
    dead_outputs_count: int = 0
    dead_inputs: tuple[int, ...] = ()
    dead_inputs_count: int = 0
    duplicate_outputs: tuple[tuple[int, int], ...] = ()
    duplicate_outputs_count: int = 0


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A layer's singular values and what follows from them.

    rows, columns: of the operator. method: how the singular values were found ('gram', 'svd', 'quadrature', 'symbol').
    quantities: by metric name, see `METRICS`. profile: singular values, descending, at most 64, at evenly spaced
    ranks with the first eight all there; ranks: theirs, from 0. Both empty where only a density is known.
    """

    rows: int
    columns: int
    method: str
    quantities: Mapping[str, Quantity]
    profile: tuple[float, ...] = ()
    ranks: tuple[int, ...] = ()
    density: Density | None = None
    noise: NoiseEdge | None = None
    tail: Tail | None = None
    units: Units | None = None
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        from opnorm.spectrum.text import lines

        return "\n".join(lines(self))


@dataclass(frozen=True, slots=True)
class Term:
    """One coordinate of a direction in the user's words: its label, its index, and its weight in the unit vector."""

    label: str
    index: int
    weight: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A small gray image: height, width, channels (1 or 3) and values row by row, channels last, from −1 to 1."""

    height: int
    width: int
    channels: int
    values: tuple[float, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Direction:
    """One singular direction of a layer.

    rank: 0 for the top. sigma: its singular value, an estimate. side: 'input' (what excites it) or 'output' (what it
    writes). kind: 'tokens', 'features', 'units', 'filter', 'frequency' or 'examples'. positive, negative: the
    coordinates of largest weight of either sign (a direction has no sign of its own: the heavier side is positive).
    pictures: where kind is 'filter' or 'frequency'. concentration: Σw⁴ of the unit vector, 1 for a single coordinate,
    1/n where spread evenly. note: what a reader must know.
    """

    rank: int
    sigma: float
    side: str
    kind: str
    positive: tuple[Term, ...] = ()
    negative: tuple[Term, ...] = ()
    pictures: tuple[Picture, ...] = ()
    concentration: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a quantity is: a title, the definition in a line, its unit, its cost, and the source."""

    title: str
    definition: str
    unit: str
    cost: str
    source: str
