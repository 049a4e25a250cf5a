"""Are the four conditions followed by what they promise (features.md section 6)? Counts, intervals, and the reference beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError
from engine.retrieval.alike import refuse_mixed
from engine.retrieval.events import CLASSES, Events
from engine.retrieval.params import AuditParams
from engine.retrieval.scores import few_sessions
from engine.retrieval.walk import schedule, scored_rows, walk_reference
from engine.vocab import Approach

if TYPE_CHECKING:
    import polars as pl

STRATA = ("against", "still", "with")
"""Price's own move in the condition's window, in the direction of travel: conditions 1 and 3 follow it mechanically."""

Z95 = 1.959964
OPEN = 4
"""Number of conditions."""

COLUMNS = ("open", "move_ticks", "t10_ask_com_touch_log", "t11_bid_com_touch_log")


def conditions_of(triggers: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """The conditions in the window that ends with each trigger's, in the direction of travel.

    Parameters
    ----------
    triggers
        Of one session: ``window_end_ts_ns, level_id, approach``.
    windows
        ``mbo_level_vacuum_5s`` of that session: ``window_end_ts_ns, level_id, distance_ticks, level_tick, up_open, down_open`` and the two
        book-framed features.

    Returns
    -------
    DataFrame
        `COLUMNS`, a row per trigger in the same order: ``open`` (0 to 4, those of rising through on an approach from below, of
        falling through on one from above), ``move_ticks`` (the last trade's move over the window, with the travel positive);
        null where not known.
    """
    import polars as pl

    c = pl.col
    price = c("distance_ticks") + c("level_tick")
    known = windows.sort("level_id", "window_end_ts_ns").with_columns(
        # A level has a row for every window while it has a value; across a gap the window before is another one.
        pl.when(c("window_end_ts_ns").shift().over("level_id") == c("window_start_ts_ns"))
        .then(price - price.shift().over("level_id"))
        .alias("move")
    )
    joined = triggers.select("window_end_ts_ns", "level_id", "approach").join(
        known, on=["window_end_ts_ns", "level_id"], how="left", maintain_order="left", suffix="_window"
    )
    up = c("approach") == Approach.UP.value
    return joined.select(
        pl.when(up).then(c("up_open")).otherwise(c("down_open")).cast(pl.Int64).alias("open"),
        pl.when(up).then(c("move")).otherwise(-c("move")).cast(pl.Int64).alias("move_ticks"),
        "t10_ask_com_touch_log",
        "t11_bid_com_touch_log",
    )


def condition_table(events: Events, conditions: pl.DataFrame, params: AuditParams | None = None) -> pl.DataFrame:
    """Outcomes by number of open conditions, direction and stratum of price's own move.

    Only `arm` events with an outcome count, one per episode. The reference is walked forward: fitted on sessions before the
    day before; it stands beside those events alone that have one.

    Parameters
    ----------
    events
        Triggers of any number of sessions.
    conditions
        `COLUMNS`, row for row as `events`.

    Returns
    -------
    DataFrame
        One row per ``direction`` (up, down, both), ``stratum`` (`STRATA`, all) and ``open`` (0 to 4): ``events, sessions``; for
        each class ``n_*``, ``share_*`` with its 95% interval ``low_*, high_*`` (whole sessions resampled; null below two),
        and ``pi_*``, the mean reference of the ``reference_events`` among them with ``observed_*`` of the same; mean ``t10, t11``;
        and ``comparisons``, how many rows were looked at.

    Raises
    ------
    ContractError
        Where the two differ in length, or the events are of several markets.
    """
    import polars as pl

    if conditions.height != len(events) or any(c not in conditions.columns for c in COLUMNS):
        raise ContractError(f"conditions: expected {', '.join(COLUMNS)} in {len(events)} rows, found {conditions.height} rows")
    refuse_mixed(events.frame["trigger_id"], "conditions")
    p = params or AuditParams()
    labels = events.labels(p.retrieval.horizon)
    use = scored_rows(events, labels)
    pi = walk_reference(events, schedule(events.sessions, np.where(use, labels, -1), p), p, "class").probability
    n_open = conditions["open"].cast(float).to_numpy()
    move = conditions["move_ticks"].cast(float).to_numpy()
    book = conditions.select("t10_ask_com_touch_log", "t11_bid_com_touch_log").cast(pl.Float64).to_numpy()
    rising = (events.frame["approach"] == Approach.UP.value).to_numpy()
    use &= np.isfinite(n_open) & np.isfinite(move)
    rng = np.random.default_rng(p.seed)
    directions = {"up": rising, "down": ~rising, "both": np.ones(len(events), bool)}
    strata = {**dict(zip(STRATA, (move < 0, move == 0, move > 0))), "all": np.ones(len(events), bool)}
    rows: list[dict[str, object]] = []
    for direction, of_direction in directions.items():
        for stratum, of_stratum in strata.items():
            for k in range(OPEN + 1):
                mine = use & of_direction & of_stratum & (n_open == k)
                found = _row(mine, labels, events.session_codes, pi, book, p.draws, rng)
                rows.append({"direction": direction, "stratum": stratum, "open": k, **found})
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.with_columns((pl.col("events") > 0).sum().alias("comparisons"), pl.col(pl.Float64).fill_nan(None))


def _row(
    rows: NDArray[np.bool_],
    labels: NDArray[np.int64],
    sessions: NDArray[np.int64],
    pi: NDArray[np.float64],
    book: NDArray[np.float64],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, float | int]:
    y = labels[rows]
    hit = (y[:, None] == np.arange(len(CLASSES))).astype(float)
    low, high = share_interval(hit, sessions[rows], draws, rng)
    known = np.isfinite(pi[rows]).all(axis=1)
    out: dict[str, float | int] = {"events": len(y), "sessions": len(np.unique(sessions[rows])), "reference_events": int(known.sum())}
    for i, c in enumerate(CLASSES):
        out |= {f"n_{c}": int(hit[:, i].sum()), f"share_{c}": _mean(hit[:, i]), f"low_{c}": low[i], f"high_{c}": high[i]}
        out |= {f"pi_{c}": _mean(pi[rows][known, i]), f"observed_{c}": _mean(hit[known, i])}
    return out | {"t10": _mean(book[rows, 0]), "t11": _mean(book[rows, 1])}


def _mean(x: NDArray[np.float64]) -> float:
    x = x[np.isfinite(x)]
    return float(x.mean()) if len(x) else float("nan")


def share_interval(
    hit: NDArray[np.float64], sessions: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95% interval of each class's share: whole sessions resampled, widened (`few_sessions`), never inside Wilson's (1927); NaN below two.

    A class that never came in six events has a share of 0 in every resample, and is not known to be impossible for that.
    """
    days, at = np.unique(sessions, return_inverse=True)
    m = len(days)
    if m < 2:
        return np.full(hit.shape[1], np.nan), np.full(hit.shape[1], np.nan)
    counts = rng.multinomial(m, np.full(m, 1 / m), size=draws)
    sums = np.zeros((m, hit.shape[1]))
    np.add.at(sums, at, hit)
    shares = (counts @ sums) / (counts @ np.bincount(at, minlength=m))[:, None]
    n, p = len(hit), hit.mean(axis=0)
    wide = few_sessions(m)
    low, high = (np.clip(p + wide * (q - p), 0, 1) for q in np.quantile(shares, [0.025, 0.975], axis=0))
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
    return np.minimum(low, np.maximum(centre - half, 0)), np.maximum(high, np.minimum(centre + half, 1))
