"""Records and costs as plain JSON values, and back: floats come back bit for bit, tuples as tuples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from opnorm.experiment.document import Cost, Design, Point, Record, Tried


def plain(thing: Record | Cost | Design) -> dict[str, Any]:
    """As lists, dictionaries, numbers and strings."""
    return asdict(thing)


def record_of(line: Mapping[str, Any]) -> Record:
    """What `plain` made of a record."""
    given = dict(line)
    given["tried"] = tuple(Tried(**tried) for tried in given["tried"])
    given["curve"] = tuple(Point(**point) for point in given["curve"])
    given["spectrum"] = {name: tuple(values) for name, values in given["spectrum"].items()}
    given["examples"], given["notes"] = tuple(given["examples"]), tuple(given["notes"])
    return Record(**given)


def cost_of(line: Mapping[str, Any]) -> Cost:
    """What `plain` made of a cost."""
    spread = line["spread"]
    return Cost(**{**line, "spread": None if spread is None else tuple(spread)})
