"""The article's claims as hypotheses that the data can contradict, each with its own measures.

The way: `measures` takes scores and spectrum from a finished model, once → `Record` → `judge` pairs the records of each
seed (`rows`), asks `statistics` for every pair of arm and measure, Holm's procedure running within a claim, and says
the answers in words (`sentence`). `untested` names what was not asked. A new claim is one file and one line in `table`.
Nothing but `measures` and `cost.costs` needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opnorm.experiment.claims.claim import Claim, Measure
from opnorm.experiment.claims.judge import Family, family_of, judge
from opnorm.experiment.claims.table import CLAIMS
from opnorm.experiment.claims.untested import untested

if TYPE_CHECKING:
    import torch

    from opnorm.experiment.subject import Split, Subject

__all__ = ["CLAIMS", "Claim", "Family", "Measure", "family_of", "judge", "measures", "untested"]


def measures(
    model: torch.nn.Module, split: Split, subject: Subject, seed: int, condition: str = "full"
) -> tuple[dict[str, float | None], dict[str, tuple[float, ...]]]:
    """Scores and spectrum of a finished model: the only place where the test part is touched, once a model."""
    from opnorm.experiment.claims.measuring import measures as taken

    return taken(model, split, subject, seed, condition)
