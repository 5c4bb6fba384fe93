"""W + s·B·A through thin products: its top singular triplets, and the least move of B and A that clips them.

The move. With U, V the singular vectors above a ceiling c and E = diag(σ − c), look for ΔB = UX and ΔA = YVᵀ of least
‖ΔB‖_F² + ‖ΔA‖_F² with Uᵀ(ΔM)V = −E to first order, ΔM ≈ s(ΔB·A + B·ΔA). With P = AV and R = UᵀB that is
s(XP + RY) = −E, whose least solution is X = ΛPᵀ, Y = RᵀΛ, where s(Λ·PᵀP + RRᵀ·Λ) = −E: a symmetric Sylvester equation
of the size of the few values above, solved by two eigendecompositions. An orthogonal change of gauge (B, A) → (BQ, QᵀA)
changes the move to (ΔB·Q, Qᵀ·ΔA). Several rounds are Newton's method, and need no further product with W, since only
s·B·A changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

DAMPING = 1e-8
"""Of the Sylvester equation, relative to its largest coefficient: what the factors hardly reach is left alone."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """M = W + s·B·A, by its products with vectors that are rows. base: W as outputs by inputs. All of one dtype."""

    base: torch.Tensor
    b: torch.Tensor
    a: torch.Tensor
    scale: float

    def images(self, rows: torch.Tensor) -> torch.Tensor:
        """(Mv)ᵀ for each row vᵀ."""
        return rows @ self.base.T + self.thin(rows)

    def adjoints(self, rows: torch.Tensor) -> torch.Tensor:
        """(Mᵀu)ᵀ for each row uᵀ."""
        return rows @ self.base + self.scale * ((rows @ self.b) @ self.a)

    def thin(self, rows: torch.Tensor) -> torch.Tensor:
        """s(BAv)ᵀ for each row vᵀ."""
        return self.scale * ((rows @ self.a.T) @ self.b.T)


@dataclass(frozen=True, slots=True)
class Ritz:
    """Singular values, largest first, with left and right vectors as rows, of M on the span of some rows."""

    values: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Orthonormal rows and what M makes of them."""

    rows: torch.Tensor
    images: torch.Tensor

    def ritz(self) -> Ritz:
        """Rayleigh and Ritz: the best triplets that the rows hold, by the Gram matrix of the images."""
        wide = widened(self.images)
        squares, vectors = symmetric(wide @ wide.T)
        values = squares.flip(0).clamp_min(0).sqrt()
        turned = vectors.flip(1).T
        safe = torch.where(values > 0, values, 1)
        return Ritz(values, (turned @ wide) / safe[:, None], turned @ widened(self.rows))


def span(operator: Adapted, block: torch.Tensor) -> Span:
    """Of the warm block, the rows of A, and one step of block Krylov from the best that they hold."""
    first = orthonormal(torch.cat([block, operator.a]))
    images = operator.images(first)
    best = Span(first, images).ritz().left[: len(block)].to(first.dtype)
    rows = orthonormal(torch.cat([first, operator.adjoints(best)]))
    return Span(rows, operator.images(rows))


def newton(operator: Adapted, found: Ritz, ceiling: torch.Tensor) -> Adapted:
    """M with its factors moved so that what is above the ceiling comes down to it, to first order."""
    excess = (found.values - ceiling).clamp_min(0)
    hot = (excess > 0).to(excess.dtype)[:, None]
    left, right = found.left * hot, found.right * hot
    p, r = right @ widened(operator.a).T, left @ widened(operator.b)
    on_p, turn_p = symmetric(p @ p.T)
    on_r, turn_r = symmetric(r @ r.T)
    coefficients = on_r.clamp_min(0)[:, None] + on_p.clamp_min(0)[None, :]
    floor = DAMPING * coefficients.amax() + torch.finfo(coefficients.dtype).tiny
    inner = (turn_r.T * -excess) @ turn_p / (operator.scale * (coefficients + floor))
    multiplier = turn_r @ inner @ turn_p.T
    b = operator.b + (left.T @ (multiplier @ p)).to(operator.b.dtype)
    a = operator.a + ((r.T @ multiplier) @ right).to(operator.a.dtype)
    return Adapted(operator.base, b, a, operator.scale)


def shrunk(operator: Adapted, found: Ritz, ceiling: torch.Tensor) -> torch.Tensor:
    """B, smaller by what the largest value is too large; by half at most."""
    share = (ceiling / found.values[0].clamp_min(torch.finfo(ceiling.dtype).tiny)).clamp(0.5, 1)
    return operator.b * share.to(operator.b.dtype)


def clipped(operator: Adapted, block: torch.Tensor, ceiling: torch.Tensor, rounds: int) -> tuple[Adapted, Ritz, Ritz]:
    """(M moved, triplets before, triplets after).

    A round that would raise the largest value seen, as when all values are far above, is not taken; the next one then
    shrinks B, which lowers it surely, as ‖W + t·sBA‖ is convex in t and ‖W‖ is below.
    """
    held = span(operator, block)
    first = now = held.ritz()
    moved, stuck = operator, torch.zeros_like(ceiling, dtype=torch.bool)
    for _ in range(0 if idle(now, ceiling) else rounds):
        move, less = newton(moved, now, ceiling), shrunk(moved, now, ceiling)
        trial = Adapted(moved.base, _chosen(stuck, less, move.b), _chosen(stuck, moved.a, move.a), moved.scale)
        seen = Span(held.rows, held.images + (trial.thin(held.rows) - operator.thin(held.rows))).ritz()
        better = seen.values[0] < now.values[0]
        stuck = ~better
        moved = Adapted(moved.base, _chosen(better, trial.b, moved.b), _chosen(better, trial.a, moved.a), moved.scale)
        now = Ritz(
            _chosen(better, seen.values, now.values), _chosen(better, seen.left, now.left),
            _chosen(better, seen.right, now.right),
        )  # fmt: skip
    return moved, first, now


def idle(found: Ritz, ceiling: torch.Tensor) -> bool:
    """Whether nothing is above; asked only where asking does not wait for a device."""
    return found.values.device.type == "cpu" and not bool(found.values[0] > ceiling)


def change(before: Adapted, after: Adapted) -> torch.Tensor:
    """‖s(B'A' − BA)‖_F, from the factors: s(ΔB·A' + B·ΔA)."""
    outer = torch.cat([widened(after.b - before.b), widened(before.b)], dim=1)
    inner = torch.cat([widened(after.a), widened(after.a - before.a)])
    return abs(before.scale) * ((outer.T @ outer) * (inner @ inner.T)).sum().clamp_min(0).sqrt()


def norm_of(matrix: torch.Tensor, block: torch.Tensor, rounds: int) -> torch.Tensor:
    """σ₁ from below, by block power iteration from `block` and Rayleigh-Ritz."""
    rows = orthonormal(block)
    for _ in range(rounds):
        rows = orthonormal(orthonormal(rows @ matrix.T) @ matrix)
    return Span(rows, rows @ matrix.T).ritz().values[0]


def orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows whose span holds that of `rows`, whatever their sizes; what is not finite counts as 0."""
    finite = torch.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    sizes = finite.abs().amax(dim=1, keepdim=True)
    finite = finite / torch.where(sizes > 0, sizes, 1)
    return torch.linalg.qr(finite.T)[0].T


def symmetric(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues, smallest first, and vectors; zero for a matrix that is not finite, which `eigh` would refuse."""
    values, vectors = torch.linalg.eigh(torch.where(torch.isfinite(matrix).all(), matrix, 0))
    return values, vectors


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """In float64, where the device has it."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def _chosen(condition: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    return torch.where(condition, yes, no)
