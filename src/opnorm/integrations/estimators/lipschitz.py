"""How far the outputs can move with the inputs: the product of the layers' norms, a bound and no more.

f = A_k ∘ φ ∘ … ∘ φ ∘ A_1 with φ of slope at most 1 entry by entry: ‖f(x) − f(y)‖₂ ≤ Π‖A_i‖₂·‖x − y‖₂ for all x, y
(Szegedy et al., *Intriguing properties of neural networks*, 2014, section 4.3). PROVED where every factor is, each
product rounded up. It is of the function in exact arithmetic, and of ℓ₂ on both sides; how far it lies above the true
constant is not known, and grows with depth. A small one is no measure of accuracy. Proof: docs/proofs.md, section 20.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from opnorm.bound import Bound, Bracket, Evidence
from opnorm.errors import UsageError

METHOD = "product"


def network_bound(norms: Iterable[Bracket], scale: float = 1.0) -> Bound:
    """Π of the upper ends times `scale`, which outputs are multiplied by; PROVED. `UsageError` where one is not."""
    value = scale
    for norm in norms:
        if norm.upper_bound is None or norm.upper_bound.evidence < Evidence.PROVED:
            raise UsageError(f"the norm {norm} of a layer is not proved from above: measure it with evidence='proved'")
        value = _product_up(value, norm.upper_bound.value)
    return Bound("upper", value, Evidence.PROVED, METHOD)


def _product_up(a: float, b: float) -> float:
    """a·b ≥ 0, rounded up: underflow gives the smallest number above 0."""
    return math.nextafter(a * b, math.inf) if a > 0 and b > 0 else 0.0
