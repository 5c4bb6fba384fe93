"""What the arms' names mean, in a few words each: the first screen of a report uses them."""

from __future__ import annotations

from collections.abc import Iterable

from opnorm.experiment.document import AGAIN
from opnorm.report.trial import words

PLAIN = "plain training"

MEANING = {
    "none": PLAIN,
    "l2": "weight decay",
    "l1": "a penalty on the absolute values of weights",
    "dropout": "hidden outputs zeroed at random while training",
    "early_stopping": "training stops when the validation score does",
    "torch_spectral_norm": "torch's parametrization, weights divided by their spectral norm",
    "cap": "spectral norms of layers held under a ceiling",
    "band": "singular values of layers held between a floor and a ceiling",
    "normalize": "weights above a ceiling scaled down to it",
    "orthogonal": "all singular values of a layer made equal",
    "penalty": "a loss term on singular values above a ceiling",
    "jacobian": "a loss term on the steepness of the model",
    "same_norm": "a control: weight decay that ends at the cap's norms",
}
"""By the name on the command line."""


def baseline(name: str) -> str:
    """'plain training' for 'none'; any other baseline by its name."""
    return PLAIN if name == "none" else words.name(name)


def glossary(arms: Iterable[str]) -> list[tuple[str, str]]:
    """Each technique among the arms, once, with what it means; names that mean nothing here are left out."""
    parts = (part for arm in arms for part in arm.removesuffix(f"@{AGAIN}").split("+"))
    return [(part, MEANING[part]) for part in dict.fromkeys(parts) if part in MEANING]
