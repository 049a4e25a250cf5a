"""One feature of the trigger vectors at a time: its distribution by what followed, and by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError
from engine.retrieval.alike import refuse_mixed
from engine.retrieval.events import CLASSES, Events

if TYPE_CHECKING:
    import polars as pl

BINS = 24
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
OUTER = 0.01
"""Share at either end that is counted in the outermost bins: one wild value would leave all others in a single bin."""


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """A feature's values among triggers of history.

    Attributes
    ----------
    name : str
    edges : float64 ``(bins + 1,)``
        Equal bins between the 1% and 99% points; what lies beyond is counted in the outermost.
    counts : dict of int64 ``(bins,)``
        By class.
    by_class, by_level : DataFrame
        ``group, n, mean, q10, q25, q50, q75, q90``.
    left_out : int
        Triggers without a vector, or (of the classes) without an outcome.
    """

    name: str
    edges: NDArray[np.float64]
    counts: dict[str, NDArray[np.int64]]
    by_class: pl.DataFrame
    by_level: pl.DataFrame
    left_out: int


def feature_distribution(events: Events, name: str, horizon: str = "h1", bins: int = BINS) -> FeatureDistribution:
    """Distribution of the dimension `name` over `events`, by the class that followed and by level and direction.

    Raises
    ------
    ContractError
        Where the vectors have no such dimension, or the events are of several markets.
    """
    refuse_mixed(events.frame["trigger_id"], f"feature {name}")
    value = feature_values(events, name)
    known = np.isfinite(value)
    label = events.labels(horizon)
    inside = value[known]
    low, high = np.quantile(inside, [OUTER, 1 - OUTER]) if inside.size else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    counts = {}
    for i, c in enumerate(CLASSES):
        mine = np.clip(value[known & (label == i)], low, high)
        counts[c] = np.histogram(mine, edges)[0].astype(np.int64)
    text = np.array([CLASSES[i] if i >= 0 else "" for i in label], object)
    way = events.frame["level_id"] + "/" + events.frame["approach"]
    return FeatureDistribution(
        name,
        edges,
        counts,
        _groups(value, text, [c for c in CLASSES if (text[known] == c).any()]),
        _groups(value, way.to_numpy().astype(object), sorted(set(way.filter(known).to_list()))),
        int((~known | (label < 0)).sum()),
    )


def feature_values(events: Events, name: str) -> NDArray[np.float64]:
    """Values of one dimension, NaN where a trigger has no vector.

    Raises
    ------
    ContractError
        Where there is no such dimension.
    """
    if name not in events.names:
        raise ContractError(f"feature {name!r}: expected one of the {len(events.names)} dimensions of docs/FEATURES.md")
    return events.matrix[:, events.names.index(name)].astype(np.float64)


def _groups(value: NDArray[np.float64], group: NDArray[np.object_], names: list[str]) -> pl.DataFrame:
    import polars as pl

    rows: list[tuple[object, ...]] = []
    for name in names:
        mine = value[np.isfinite(value) & (group == name)]
        rows.append((name, mine.size, float(mine.mean()), *np.quantile(mine, QUANTILES).tolist()))
    columns = ("mean", *(f"q{round(q * 100)}" for q in QUANTILES))
    return pl.DataFrame(rows, schema={"group": pl.String, "n": pl.Int64, **dict.fromkeys(columns, pl.Float64)}, orient="row")


def share_below(events: Events, name: str, value: float) -> float:
    """Share of the triggers that have a vector whose dimension `name` is below `value`; NaN where none has one.

    Raises
    ------
    ContractError
        As `feature_distribution`.
    """
    refuse_mixed(events.frame["trigger_id"], f"feature {name}")
    known = feature_values(events, name)
    known = known[np.isfinite(known)]
    return float((known < value).mean()) if known.size else float("nan")
