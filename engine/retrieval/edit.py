"""A setup one makes up: some dimensions of a query's vector set by hand, and with them what the reference forecast is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.errors import ContractError
from engine.params import FeatureParams
from engine.retrieval.events import Events

MAGNITUDES = {"volatility_log": "sigma", "message_rate_log": "message_rate", "trade_rate_log": "trade_rate"}
"""Dimensions that are ``ln(1 + x)`` of a covariate of the reference forecast, and that covariate."""

DISTANCES = ("distance", "w0_t9_distance")
"""Dimensions (of `means`, of `blocks`) that are the distance at the query's moment over the far bound."""

KEPT = ("level_id", "approach", "seconds_into_session", "touch_number", "confluent_levels")
"""What the reference forecast is given beside those: no dimension says it, so it stays as it was."""


def edited(query: Events, values: Mapping[str, float], features: FeatureParams | None = None) -> Events:
    """The query with some of its vector's dimensions set to raw values, by name.

    A dimension that is a covariate of the reference forecast (distance, volatility, message and trade rate) changes that as well, so that
    neighbours and reference speak of the same setup. `KEPT` stays as it was; so does every dimension that is not named.

    Parameters
    ----------
    values
        By dimension of `query.names`; a distance in far bounds, as in the vector.
    features
        Knobs that the query was made with, for the far bound; the defaults where None.

    Raises
    ------
    ContractError
        Naming a dimension that is none, or a value that is not finite or cannot be.
    """
    import polars as pl

    at = {n: i for i, n in enumerate(query.names)}
    far = (features or FeatureParams()).zones.far
    matrix = query.matrix.copy()
    columns: list[pl.Expr] = []
    for name, value in values.items():
        if name not in at:
            near = [n for n in query.names if name.rpartition("_")[2] in n][:5]
            such = ", ".join(near or query.names[:5])
            raise ContractError(f"dimension {name!r}: expected one of the {len(at)} of docs/FEATURES.md, such as {such}")
        if not np.isfinite(value):
            raise ContractError(f"dimension {name!r}: expected a finite number, found {value}")
        if value < 0 and (name in MAGNITUDES or name in DISTANCES):
            raise ContractError(f"dimension {name!r}: expected 0 or more, found {value}")
        matrix[:, at[name]] = value
        if name in MAGNITUDES:
            columns.append(pl.lit(float(np.expm1(value))).alias(MAGNITUDES[name]))
        if name in DISTANCES:
            ticks = round(value * far)
            if abs(ticks - value * far) > 1e-6:
                low = int(value * far)
                raise ContractError(
                    f"dimension {name!r}: expected whole ticks over the far bound of {far}, such as {low / far:g} or {(low + 1) / far:g}, "
                    f"found {value}"
                )
            side = pl.when(pl.col("approach") == "approach_up").then(-ticks).otherwise(ticks)
            columns.append(side.cast(query.frame.schema["distance_ticks"]).alias("distance_ticks"))
    return Events(matrix, query.names, query.representation, query.frame.with_columns(columns))
