"""How far predicted probabilities can be believed."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

BINS = 15


def of(outputs: np.ndarray) -> np.ndarray:
    """Probabilities, (n, classes), of logits (…, classes): places of a sequence become rows."""
    return np.asarray(softmax(outputs.reshape(-1, outputs.shape[-1]).astype(np.float64), axis=1))


def brier(likely: np.ndarray, targets: np.ndarray) -> float:
    """Half of the mean over examples of Σ_classes (p − y)²: 0 is perfect, 1 certain and wrong (Brier, 1950)."""
    apart = likely.copy()
    apart[np.arange(len(targets)), targets] -= 1.0
    return float(np.square(apart).sum(axis=1).mean()) / 2


def calibration_error(likely: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Σ_bins share·|accuracy − mean confidence| of the top class, bins of equal width (Guo et al., 2017)."""
    confidence, right = likely.max(axis=1), likely.argmax(axis=1) == targets
    at = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(at, right, bins) - np.bincount(at, confidence, bins)
    return float(np.abs(gaps).sum()) / len(targets)
