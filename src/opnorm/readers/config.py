"""What a model's `config.json` says of it: read as data, believed only where the shapes agree.

A configuration decides which rows there are and what they are called, such as how many heads share a matrix. It
never decides how much memory is taken, and a number in it that the shapes contradict is not used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opnorm.readers import strict_json
from opnorm.readers.sharded import inside

CONFIG, ADAPTER = "config.json", "adapter_config.json"
MAX_BYTES = 1_000_000
MOST = 1 << 24
"""No count or size of a model's parts is larger."""

_REMEDY = "Fetch the file again, or measure without it: rename it, and layers are told by names and shapes alone."

Config = Mapping[str, Any]


def config_of(folder: Path) -> Config | None:
    """`config.json` of a folder, with its `adapter_config.json` under 'adapter_config'; None where it has neither.

    `CheckpointError` for a file that is not strict JSON, too large, no plain file, or a link out of the folder.
    """
    config, adapter = _parsed(folder, CONFIG), _parsed(folder, ADAPTER)
    if adapter is None:
        return config
    return {**(config or {}), "adapter_config": adapter}


def _parsed(folder: Path, name: str) -> dict[str, Any] | None:
    if not os.path.lexists(folder / name):
        return None
    return strict_json.read(inside(folder, name), MAX_BYTES, "a configuration", _REMEDY)


def model_type(config: Config | None) -> str:
    """Such as 'bert'; '' where it is not said."""
    return word(config, "model_type")


def whole(config: Config | None, *keys: str) -> int:
    """The first of `keys` that holds a whole number from 1 to `MOST`; 0 where none does."""
    for key in keys:
        value = (config or {}).get(key)
        if type(value) is int and 1 <= value <= MOST:
            return value
    return 0


def number(config: Config | None, *keys: str) -> float | None:
    """The first of `keys` that holds a finite number of moderate size; None where none does."""
    for key in keys:
        value = (config or {}).get(key)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and abs(value) <= MOST
        ):
            return float(value)
    return None


def word(config: Config | None, key: str) -> str:
    """A string of the configuration; '' where there is none."""
    value = (config or {}).get(key)
    return value if isinstance(value, str) else ""


def flag(config: Config | None, key: str, *, default: bool = False) -> bool:
    """A true or false of the configuration."""
    value = (config or {}).get(key)
    return value if isinstance(value, bool) else default


def section(config: Config | None, key: str) -> Config | None:
    """A nested object of the configuration."""
    value = (config or {}).get(key)
    return value if isinstance(value, dict) else None
