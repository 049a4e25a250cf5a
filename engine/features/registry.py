"""The register of features: a feature is a small function plus a declaration of what it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.errors import ContractError

F = TypeVar("F", bound=Callable[..., Any])

FAMILIES: dict[str, str] = {
    "vacuum_down": "Vacuum, downward context (approach from above), features.md section 3",
    "vacuum_up": "Vacuum, upward context (approach from below), features.md section 3",
    "tape": "Tape: trading, in the frame of travel, features.md section 4",
    "condition": "The conditions, features.md section 6",
    "wall": "The wall at a level, in the frame of travel, once per moment (`engine/features/wall.py`)",
    "pressure": "Pressure at a price, per tick and window of a cube, features.md section 7",
}
"""What each family is; the table of a level's windows holds all but `OF_OTHER_TABLES`, in this order."""

OF_OTHER_TABLES = ("wall", "pressure")

_MODULES = ("vacuum", "tape", "wall", "pressure")


@dataclass(frozen=True)
class Feature:
    """A declared feature; `formula`, `unit`, `range` (in interval notation) and `meaning` are for the reference and the contracts.
    `dtype` is ``float64``, ``boolean`` or ``int8``; all are nullable. `function` takes the window's sums
    (`engine.features.sums.WindowSums`; `engine.features.wall.WallSums` for `wall`, a cube's variables for `pressure`).
    """

    name: str
    family: str
    formula: str
    unit: str
    range: str
    meaning: str
    dtype: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class Key:
    """A column of the table that is no feature: what the row is about."""

    name: str
    dtype: str
    nullable: bool
    unit: str
    meaning: str
    came_later: bool = False
    """Whether tables of before lack it, and count as having False there."""


KEYS = (
    Key("window_start_ts_ns", "int64", False, "ns", "Start of the window, ns since the epoch, UTC"),
    Key("window_end_ts_ns", "int64", False, "ns", "End of the window (exclusive), ns since the epoch, UTC"),
    Key("level_id", "string", False, "", "Which level the row is about"),
    Key("level_tick", "int32", False, "tick", "The level's price at the window's start, in ticks (k_ref)"),
    Key("distance_ticks", "int32", True, "tick", "Last trade at the window's end minus the level; null before the first trade"),
    Key("approach", "string", False, "", "approach_up, approach_down or approach_none at the window's end"),
    Key("book_valid", "boolean", False, "", "Whether the book was valid in every second of the window; features are null where not"),
    Key(
        "book_near",
        "boolean",
        False,
        "",
        "Where the book is not valid: known near the touch, so that features are there whose zones lie in that band",
        came_later=True,
    ),
)
"""The table's columns before the features."""

_FEATURES: dict[str, Feature] = {}


def feature(name: str, *, family: str, formula: str, unit: str, range: str, meaning: str, dtype: str = "float64") -> Callable[[F], F]:
    """Register the decorated function as feature `name`; ContractError where the name is taken or the family unknown."""

    def register(function: F) -> F:
        if name in _FEATURES:
            raise ContractError(f"feature {name!r}: expected a new name, it is registered already")
        if family not in FAMILIES:
            raise ContractError(f"feature {name!r}: expected a family of {', '.join(FAMILIES)}, found {family!r}")
        _FEATURES[name] = Feature(name, family, formula, unit, range, meaning, dtype, function)
        return function

    return register


def features(family: str | None = None) -> tuple[Feature, ...]:
    """Features of `family` in the order of their declaration, or of all families, one by one; ContractError on an unknown family."""
    for module in _MODULES:
        importlib.import_module(f"engine.features.{module}")
    if family is None:
        return tuple(f for name in FAMILIES for f in features(name))
    if family not in FAMILIES:
        raise ContractError(f"feature family {family!r}: expected one of {', '.join(FAMILIES)}")
    return tuple(f for f in _FEATURES.values() if f.family == family)


def feature_names(family: str | None = None) -> tuple[str, ...]:
    """Names of the features of `family`, or of all."""
    return tuple(f.name for f in features(family))


def table_features() -> tuple[Feature, ...]:
    """The features of the table ``mbo_level_vacuum_5s``, in its column order (after `KEYS`)."""
    return tuple(f for f in features() if f.family not in OF_OTHER_TABLES)
