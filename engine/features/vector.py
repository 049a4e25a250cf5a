"""The vector of a trigger: its history of windows around its own level (features.md section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from engine.errors import ContractError
from engine.features.blocks import BLOCKS, REACH, base_names, blocks, blocks_names
from engine.features.means import means, means_names, primitives
from engine.features.sums import WindowSums
from engine.ladder import NO_TICK, Ladder
from engine.lake.manifest import canonical, sha256_text
from engine.params import FeatureParams
from engine.setups.timeline import HISTORY
from engine.vocab import NS, Approach

REPRESENTATIONS = ("means", "blocks")
"""Those made of windows alone; `learned` is fitted on `means` where vectors are compared."""

NEEDED = (
    "window_end_ts_ns", "level_tick", "approach", "distance_ticks", "sigma", "message_rate", "trade_rate",
)  # fmt: skip
"""Columns of a trigger that its vector is made of."""

CHUNK = 64
"""Levels that one pass over the ladder takes; more would need much memory at once."""

_BLOCK = re.compile(rf"^({'|'.join(BLOCKS)}|b\d+)_(d[1-3]_)?")


def _known(representation: str) -> str:
    if representation not in REPRESENTATIONS:
        raise ContractError(f"representation {representation!r}: expected one of {', '.join(REPRESENTATIONS)}")
    return representation


def vector_names(representation: str, approach: str) -> tuple[str, ...]:
    """Name of every dimension, in the vector's order.

    Parameters
    ----------
    representation : str
        One of `REPRESENTATIONS`.
    approach : str
        Value of `engine.vocab.Approach`; `means` has the same names for both.
    """
    return means_names() if _known(representation) == "means" else blocks_names(approach)


def feature_of(name: str) -> str:
    """The base feature of a dimension, without its block and derivative."""
    return _BLOCK.sub("", name)


def family_of(name: str) -> str:
    """What a dimension is about: ``f``, ``u``, ``t``; ``ahead``, ``behind`` (sides of `means`) or ``magnitude``."""
    feature = feature_of(name)
    found = re.match(r"^(?:([fut])\d+|(ahead|behind))_", feature)
    return (found[1] or found[2]) if found else "magnitude"


def feature_list(representation: str, approach: str) -> dict[str, Any]:
    """Content of ``feature_list.json``: every dimension by name, and a hash of all of it."""
    names = vector_names(representation, approach)
    body: dict[str, Any] = {
        "representation": representation,
        "approach": approach,
        "history_windows": HISTORY,
        "vector_dim": len(names),
        "dimensions": [{"name": n, "feature": feature_of(n), "family": family_of(n)} for n in names],
    }
    return body | {"hash": sha256_text(canonical(body))}


def trigger_vectors(
    ladder: Ladder, triggers: pl.DataFrame, representation: str = "means", params: FeatureParams | None = None
) -> pl.Series:
    """The raw vector of each trigger, before any normalisation.

    The windows of its history are taken anew around the trigger's own level, for a level that moves.

    Parameters
    ----------
    ladder : Ladder
    triggers : pl.DataFrame
        `NEEDED`, in any order; also of a moment or a price that is no trigger of any table.
    representation : str
        One of `REPRESENTATIONS`.
    params : FeatureParams
        Window length and zones.

    Returns
    -------
    pl.Series
        ``vector``, List(Float32), one item per row; null where there are not 24 windows of history with a valid book and
        a valid second before each, or a value of it is not known.

    Raises
    ------
    ContractError
        On an unknown representation, a missing column, an approach that is none, or a moment outside the ladder.
    """
    _known(representation)
    params = params or FeatureParams()
    lacking = [c for c in NEEDED if c not in triggers.columns]
    if lacking:
        raise ContractError(f"triggers for vectors of {ladder.symbol} {ladder.date}: missing {', '.join(lacking)}")
    parts = [pl.DataFrame(schema={"row": pl.Int64, "vector": pl.List(pl.Float32)})]
    for rows, made in _vectors(ladder, triggers, representation, params):
        known = ~np.isnan(made).any(axis=1)
        parts.append(pl.DataFrame({"row": rows[known], "vector": as_lists(made[known])}))
    return pl.DataFrame({"row": np.arange(triggers.height)}).join(pl.concat(parts), on="row", how="left", maintain_order="left")["vector"]


def as_lists(matrix: np.ndarray) -> pl.Series:
    """Rows of a matrix as a List(Float32) series."""
    flat = pl.Series("vector", matrix.astype(np.float32).ravel())
    return flat.reshape(matrix.shape).arr.to_list() if matrix.size else pl.Series("vector", [], dtype=pl.List(pl.Float32))


def vector_matrix(vectors: pl.Series, dimensions: int) -> np.ndarray:
    """``(rows, dimensions)`` float32 of vectors that are all there.

    Raises
    ------
    ContractError
        Where one is null or has another length.
    """
    if vectors.null_count() or (vectors.list.len() != dimensions).any():
        raise ContractError(f"vectors: expected {dimensions} numbers in every row, found null or other lengths")
    return vectors.explode().to_numpy().astype(np.float32, copy=False).reshape(-1, dimensions)


def _vectors(ladder: Ladder, triggers: pl.DataFrame, representation: str, params: FeatureParams) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, matrix) of all triggers, pass by pass; NaN where a value is not known."""
    first, n_windows = ladder.windows(params.window_s)
    length = params.window_s * NS
    window = (triggers["window_end_ts_ns"].to_numpy() - (ladder.start_ns + first * NS)) // length - 1
    if window.size and (window.min() < 0 or window.max() >= n_windows):
        raise ContractError(
            f"triggers for vectors of {ladder.symbol} {ladder.date}: expected windows within [{ladder.start_ns}, {ladder.end_ns})"
        )
    approach = triggers["approach"].to_numpy()
    if not np.isin(approach, [Approach.UP.value, Approach.DOWN.value]).all():
        raise ContractError(f"triggers for vectors of {ladder.symbol} {ladder.date}: expected approach_up or approach_down in every row")
    sign = np.where(approach == Approach.UP.value, 1, -1)
    around, of_row = np.unique(np.stack([sign, triggers["level_tick"].to_numpy()]), axis=1, return_inverse=True)
    of_row = of_row.reshape(-1)
    history = HISTORY + (REACH if representation == "blocks" else 0)
    enough = _enough(ladder, first, n_windows, params.window_s)
    for begin in range(0, around.shape[1], CHUNK):
        rows = np.flatnonzero((of_row >= begin) & (of_row < begin + CHUNK) & enough[window])
        if rows.size == 0:
            continue
        group, at = of_row[rows] - begin, window[rows, None] - np.arange(history - 1, -1, -1)
        tick = around[1, begin : begin + CHUNK]
        k_ref = np.full((tick.size, n_windows), NO_TICK, np.int64)
        there = np.maximum(at, 0)
        k_ref[group[:, None], there] = tick[group, None]
        travel = np.repeat(around[0, begin : begin + CHUNK, None], n_windows, axis=1).astype(np.int8)
        sums = WindowSums(ladder, k_ref, first, params, travel if representation == "means" else None)
        cell = np.full(k_ref.shape, -1, np.int64)
        cell[sums.level, sums.window] = np.arange(sums.level.size)
        cells = cell[group[:, None], there]
        if representation == "means":
            yield rows, means(primitives(sums)[cells], _magnitudes(triggers[rows], params))
            continue
        for which in (Approach.UP.value, Approach.DOWN.value):
            mine = np.flatnonzero(approach[rows] == which)
            if mine.size:
                values = np.stack([np.where(sums.valid, sums[name], np.nan) for name in base_names(which)], axis=1)
                yield rows[mine], blocks(values[cells[mine]], (at[mine] < 0).sum(axis=1))


def _enough(ladder: Ladder, first: int, n_windows: int, window_s: int) -> np.ndarray:
    """Windows that end 24 in a row with a valid book and a valid second before each.

    Before the session's first second the book is known by conservation, if that second is valid.
    """
    valid = np.append(True, ladder.valid)
    begin = first + window_s * np.arange(n_windows)
    good = np.array([valid[b : b + window_s + 1].all() for b in begin])
    run = np.append(0, np.cumsum(good))
    out = np.zeros(n_windows, bool)
    out[HISTORY - 1 :] = run[HISTORY:] - run[: n_windows + 1 - HISTORY] == HISTORY
    return out


def _magnitudes(triggers: pl.DataFrame, params: FeatureParams) -> np.ndarray:
    distance = np.abs(triggers["distance_ticks"].cast(pl.Float64).to_numpy()) / params.zones.far
    logs = [np.log1p(triggers[c].cast(pl.Float64).fill_null(np.nan).to_numpy()) for c in ("sigma", "message_rate", "trade_rate")]
    return np.stack([distance, *logs], axis=1)
