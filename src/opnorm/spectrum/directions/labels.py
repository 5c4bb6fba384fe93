"""What the user knows of a model's inputs and outputs: its tokens, its features, a batch of examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opnorm.layers.plan import Entry, Layer
from opnorm.spectrum.directions.features import read_features
from opnorm.spectrum.directions.places import NOWHERE, Place, places_of
from opnorm.spectrum.directions.tokens import Tokens, read_tokens


@dataclass(frozen=True, slots=True)
class Labels:
    """Names for the sides of rows, and where they belong.

    tokens: of embeddings and output heads. features: names of the inputs of the first dense layer. batch: examples,
    (count, …), inputs of one layer. places: decided once for a model by `placed`; without it every entry is taken for
    a whole model of its own.
    """

    tokens: Tokens | None = None
    features: tuple[str, ...] | None = None
    batch: Any = None
    places: Mapping[str, Place] | None = None

    @classmethod
    def read(
        cls,
        tokenizer: str | Path | None = None,
        features: str | Path | Iterable[object] | None = None,
        batch: Any = None,
    ) -> Labels:
        """tokenizer: a `tokenizer.json`, or a folder with one. features: names, or a file of them. batch: examples."""
        return cls(
            None if tokenizer is None else read_tokens(tokenizer),
            None if features is None else read_features(features),
            batch,
        )

    def placed(self, plan: Sequence[Layer]) -> Labels:
        """The same, sure of which rows of a model it speaks of. `UsageError` where something fits none of them."""
        return replace(self, places=places_of(plan, self.tokens, self.features, self.batch))

    def place(self, entry: Entry) -> Place:
        """What is known of a row."""
        places = self.placed([Layer(entry.name, (entry,))]).places if self.places is None else self.places
        return (places or {}).get(entry.name, NOWHERE)
