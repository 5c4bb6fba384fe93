"""Lower bounds at one input size: block Lanczos from smooth modes at the frequencies where the symbol peaks.

A window sin(πi/(n+1)) on every axis times e^{iω·i}u, u the top left singular vector of F(ω), nearly attains the norm
of a large convolution; a few passes over the true operator improve it, edges included. The last product is in float64.
Guarantee: PROVED: ‖Aᵀx‖ ≥ ‖fl(Aᵀx)‖ − c‖x‖ with c from `Rounding`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from opnorm.linalg.centering import centered
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.convolution.peak import FINE, Peak
from opnorm.linalg.convolution.symbol import Complex128, Taps
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import TINY, Float64, down, frobenius_up, gamma, ldexp_down, up

MOST_STEPS = 16
_GAIN = 0.05
_MODES = 2
_RANDOM = 2


def finite_lower(conv: Convolution, known: Taps, peaks: Sequence[Peak], width: float) -> tuple[float, int]:
    """A lower bound on the norm of the sized operator, and the passes made.

    Stops within a fifth of `width` of the highest peak, which no size exceeds, or where a pass gains little.
    """
    forward, exponent = centered(conv.T if conv.transposed else conv)
    rows, columns = forward.shape
    start = _start(conv, known, peaks)
    wide = forward if rows <= columns else forward.T
    lanczos = BlockLanczos(wide.gram, start if rows <= columns else np.asarray(forward.rmatmat(start), np.float64))
    highest = max(peak.value for peak in peaks)
    enough = math.ldexp(highest, 2 * (known.exponent - exponent)) / (1 + 0.2 * width) ** 2
    before, top = 0.0, 0.0
    while lanczos.passes == 0 or (not lanczos.spent(MOST_STEPS) and top < enough):
        lanczos.step()
        before, top = top, float(np.linalg.eigvalsh(lanczos.projection)[-1])
        if lanczos.passes > 2 and top <= before * (1 + _GAIN * width):
            break
    vector = (lanczos.basis @ lanczos.top()[1])[:, None]
    return ldexp_down(_quotient(wide, vector), exponent), lanczos.passes + 1


def _quotient(wide: LinearOperator, vector: Float64) -> float:
    known = wide.rounding
    assert known is not None
    image = wide.rmatmat64(vector)
    square = float(np.vdot(image, image)) * (1 - gamma(image.size + 2)) - image.size * TINY
    size = frobenius_up(vector)
    return down(max(down(math.sqrt(max(square, 0.0))) / size - up(known.adjoint), 0.0), 8)


def _start(conv: Convolution, known: Taps, peaks: Sequence[Peak]) -> Float64:
    """Real and imaginary parts of windowed modes at distinct peaks, and a few random vectors, (rows, k)."""
    geometry = conv.geometry
    output = geometry.output
    window = np.ones(())
    for n in output:
        window = window[..., None] * np.sin(np.pi * np.arange(1, n + 1) / (n + 1))
    channels = conv.kernel.shape[0]
    chosen = sorted(peaks, key=lambda peak: -peak.value)[:_MODES]
    modes = [_mode(_left(known, peak), peak, known.steps, window, channels, geometry.groups) for peak in chosen]
    parts = [part.reshape(-1) for mode in modes for part in (mode.real, mode.imag)]
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal(channels * math.prod(output)) for _ in range(_RANDOM)]
    useful = [part / norm for part in (*parts, *noise) if (norm := float(np.linalg.norm(part))) > 1e-8]
    return np.stack(useful[: channels * math.prod(output)], axis=1)


def _left(known: Taps, peak: Peak) -> Complex128:
    """The left singular vector of F at the peak, over the group's output channels."""
    if not known.flipped:
        return peak.vector
    right = np.conj(peak.vector)
    image = known.at(peak.group, peak.numerators, FINE).T @ right
    return np.asarray(image / max(float(np.linalg.norm(image)), 2.0**-500))


def _mode(
    left: Complex128, peak: Peak, steps: Sequence[int], window: Float64, channels: int, groups: int
) -> Complex128:
    mode = np.zeros((channels, *window.shape), dtype=np.complex128)
    wave = window.astype(np.complex128)
    for axis, (numerator, step) in enumerate(zip(peak.numerators.tolist(), steps, strict=True)):
        shape = [1] * window.ndim
        shape[axis] = -1
        positions = np.arange(window.shape[axis])
        # Orders come in steps: one of the `step` frequencies that the symbol cannot tell apart.
        wave = wave * np.exp(2j * np.pi * (numerator / FINE / step) * positions).reshape(shape)
    each = channels // groups
    mode[peak.group * each : (peak.group + 1) * each] = left.reshape(-1, *[1] * window.ndim) * wave
    return mode
