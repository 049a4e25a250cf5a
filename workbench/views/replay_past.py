"""What of a session is known at an instant: the one place from which the replay takes what it sends.

Everything here is asked with `t`, a number of whole seconds since the ladder's start, and answers from seconds before it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import xarray as xr

from engine.errors import EngineError
from engine.features import pressure_cube
from engine.ladder import NO_TICK
from engine.params import FeatureParams
from engine.vocab import NS
from workbench import data
from workbench.kept import kept_with_session
from workbench.plots import coding, conditions
from workbench.plots.coding import Layer
from workbench.plots.ladder import rows_of

COLUMNS = 900
"""Columns of the heatmap's image: about the plot's width."""

SCALE_EVERY_S, SCALE_REACH = 600, 20
"""The colour scale is set anew so often, from what was within so many ticks of the last trade."""

REST_S = 60
"""A touch is one that comes after so long away from the level."""


class Strip:
    """Cells and counts of a level's conditions for the whole session; `until` gives those of windows that had ended."""

    def __init__(self, session: data.Session, level_id: str, params: FeatureParams) -> None:
        self.frame = data.vacuum(session, level_id, params)
        self.window_ns = params.window_s * NS
        self.ends = self.frame["window_start_ts_ns"].to_numpy() + self.window_ns
        self.cells, self.counts = conditions.strip_data(self.frame, params.window_s, session.day_ns)
        self.width_ms = float(params.window_s * 1000)

    def done(self, now_ns: int) -> int:
        """How many windows had ended."""
        return int(np.searchsorted(self.ends, now_ns, side="right"))

    def row(self, now_ns: int) -> dict[str, object] | None:
        """The level's last window that had ended, if that was the last one of the session."""
        i = self.done(now_ns)
        return self.frame.row(i - 1, named=True) if i and now_ns - self.ends[i - 1] < self.window_ns else None

    def until(self, now_ns: int, since_x: float) -> tuple[dict[str, list[object]], dict[str, object]]:
        """Sources of the strip: windows that had ended, from the axis coordinate `since_x` on."""
        i = self.done(now_ns)
        if i == 0:
            return {k: [] for k in self.cells}, dict(conditions.NO_COUNTS)
        x = np.asarray(self.counts["x"])
        # Windows of the grid: the strip fills the gaps of a level that had no value for a while.
        last = round((self.ends[i - 1] - self.ends[0]) / self.window_ns) + 1
        first = min(int(np.searchsorted(x[:last], since_x)), last - 1)
        cells = dict(self.cells)
        cells["image"] = [np.ascontiguousarray(np.asarray(m)[:, first:last]) for m in self.cells["image"]]
        cells["x"] = [float(x[first])] * 2
        cells["dw"] = [(last - first) * self.width_ms] * 2
        counts: dict[str, object] = {"x": np.append(x[first:last], x[last - 1] + self.width_ms)}
        for d in conditions.BASE:
            v = np.asarray(self.counts[d])[first:last]
            counts[d] = np.append(v, v[-1])
        return cells, counts

    def fresh(self, before: int, now_ns: int) -> list[list[object]]:
        """Windows from the `before`-th that had ended: axis coordinate, width in ms, codes and heights of both bands, in `BASE`'s order."""
        i = self.done(now_ns)
        if i <= before:
            return []
        first, last = (round((self.ends[k] - self.ends[0]) / self.window_ns) for k in (before, i - 1))
        x = np.asarray(self.counts["x"])
        images = [np.asarray(m) for m in self.cells["image"]]
        return [
            [
                float(x[k]),
                self.width_ms,
                [m[:, k].tolist() for m in images],
                [float(np.asarray(self.counts[d])[k]) for d in conditions.BASE],
            ]
            for k in range(first, last + 1)
        ]


@dataclass
class Slab:
    """A stretch of the ladder around a price: values to paint, and what the ladder beside it is made from.

    The arrays reach beyond the replay's time; `image` and `rows` give nothing of it.
    """

    begin: int
    end: int
    low: int
    high: int
    step: int
    pool: int
    layer: Layer
    top: float
    cube: xr.Dataset
    shown: np.ndarray = field(init=False)
    valid: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.shown = coding.values(self.cube, self.layer)
        self.valid = self.cube["book_valid"].to_numpy().astype(bool)
        keep = ("long", "short", "bid_depth", "ask_depth")
        self._of = {k: self.cube[k].to_numpy().astype(np.float32) for k in keep}
        self._tick = self.cube["tick"].to_numpy()
        self._start = {s: (self.cube[f"{s}_depth"] - self.cube[f"{s}_change"]).to_numpy()[0].astype(np.float32) for s in ("bid", "ask")}
        del self.cube

    @property
    def columns(self) -> int:
        """Columns of the whole image."""
        return -(-(self.end - self.begin) // self.pool)

    @property
    def ticks(self) -> np.ndarray:
        """Lowest tick of each row."""
        return self._tick

    def column_of(self, t: int) -> int:
        """Column in which second `t` lies."""
        return (t - self.begin) // self.pool

    def block(self, first: int, t: int) -> np.ndarray:
        """Exact values of the columns from `first` to that of second ``t - 1``, float32 (rows, columns), of seconds before `t`."""
        a, b = first * self.pool, min(t, self.end) - self.begin
        if b <= a:
            return np.empty((self._tick.size, 0), np.float32)
        if self.layer.kind == "signed" and self.pool > 1:
            return coding.pool_net(self._of["long"][a:b], self._of["short"][a:b], self.pool).T
        return coding.pool_windows(self.shown[a:b], self.pool).T

    def image(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and exact values of all columns at `t`; what comes later is empty."""
        values = np.full((self._tick.size, self.columns), np.nan, np.float32)
        known = self.block(0, t)
        values[:, : known.shape[1]] = known
        return np.ascontiguousarray(coding.codes(values, self.layer, self.top)), values

    def rows(self, t: int, window_s: int, trailing: bool, k_ref: int) -> pl.DataFrame:
        """The ladder (`workbench.plots.ladder.rows_of`) of one window, the `window_s` seconds before `t`.

        With `trailing` flows are summed over it; else (they fade already) those of the last second stand.
        """
        i = t - self.begin
        a = max(i - window_s, 0)
        out: dict[str, np.ndarray] = {}
        with np.errstate(invalid="ignore"):
            for k in ("long", "short"):
                out[k] = np.nansum(self._of[k][a:i], axis=0) if trailing else np.nan_to_num(self._of[k][i - 1])
            out["net"] = (out["long"] - out["short"]) / (out["long"] + out["short"] + 1)
            for s in ("bid", "ask"):
                depth = self._of[f"{s}_depth"]
                out[f"{s}_depth"] = depth[i - 1]
                out[f"{s}_change"] = depth[i - 1] - (depth[a - 1] if a else self._start[s])
        if not self.valid[i - 1]:
            out = {k: np.zeros_like(v) for k, v in out.items()}
        return rows_of(out, bool(self.valid[i - 1]), self._tick, k_ref)


def slab(session: data.Session, begin: int, end: int, low: int, high: int, step: int, layer: Layer, top: float, half_life_s: float) -> Slab:
    """Read seconds ``[begin, end)`` of the session's ladder, ticks `low` to `high`."""
    lad = session.ladder
    start = lad.start_ns
    cube = pressure_cube(lad, start + begin * NS, start + end * NS, low, high, step_ticks=step, half_life_s=half_life_s)
    return Slab(begin, end, low, high, step, -(-(end - begin) // COLUMNS), layer, top, cube)


@kept_with_session(4)
def strip(session: data.Session, level_id: str, params: FeatureParams) -> Strip:
    """The level's strip."""
    return Strip(session, level_id, params)


@kept_with_session(128)
def scale_top(session: data.Session, layer: Layer, step: int, half_life_s: float, t: int) -> float:
    """End of the colour scale, from what was known at the last whole `SCALE_EVERY_S` before `t` (in the first of them: at `t` itself)."""
    if layer.kind == "signed":
        return 1.0
    lad = session.ladder
    traded = np.flatnonzero((lad.last_tick[:t] != NO_TICK) & lad.valid[:t])
    found = []
    for s in traded[np.unique((np.linspace(0.1, 1.0, 6) * (traded.size - 1)).astype(int))].tolist() if traded.size else ():
        mid, a = int(lad.last_tick[s]), max(s - 60, 0)
        try:
            cube = pressure_cube(
                lad, lad.start_ns + a * NS, lad.start_ns + (s + 1) * NS, mid - SCALE_REACH, mid + SCALE_REACH, step_ticks=step,
                half_life_s=half_life_s,
            )  # fmt: skip
        except EngineError:
            continue  # a sample that falls off the session's start; the others set the scale
        found.append(coding.values(cube, layer).ravel())
    return coding.scale_top(np.concatenate(found), layer) if found else 5.0


def scale_time(t: int) -> int:
    """The second whose past sets the colour scale at `t`."""
    return max(t // SCALE_EVERY_S * SCALE_EVERY_S, min(t, SCALE_EVERY_S) // 30 * 30)


@kept_with_session(1)
def _steps(session: data.Session) -> dict[str, tuple[list[int], list[int], list[int]]]:
    """Starts, ends and ticks of each level's steps, in the screen's order: lists, since every frame asks where each level stands."""
    out = {}
    for i in data.ordered_level_ids(session):
        rows = session.levels.filter(pl.col("level_id") == i).sort("start_ts_ns")
        if rows.height:
            out[i] = tuple(rows[c].to_list() for c in ("start_ts_ns", "end_ts_ns", "level_tick"))
    return out  # type: ignore[return-value]


def known_levels(session: data.Session, t: int) -> list[str]:
    """Ids of the levels that had a value, in the screen's order."""
    now = session.ladder.start_ns + t * NS
    return [i for i, (starts, _, _) in _steps(session).items() if starts[0] < now]


def tick_now(session: data.Session, level_id: str, t: int) -> int | None:
    """Where a level of the session stood in the second before `t`; None where it had no value."""
    starts, ends, ticks = _steps(session)[level_id]
    now = session.ladder.start_ns + t * NS - 1
    i = bisect_right(starts, now) - 1
    return ticks[i] if i >= 0 and now < ends[i] else None


def known_runs(session: data.Session, level_id: str, t: int, since_ns: int, until_ns: int) -> pl.DataFrame:
    """Level lines that had begun; those that still stand at `t` are drawn on to `until_ns`, whatever becomes of them."""
    now = session.ladder.start_ns + t * NS
    runs = data.runs(session, level_id).filter((pl.col("start_ts_ns") < now) & (pl.col("end_ts_ns") > since_ns))
    stands = pl.col("end_ts_ns") >= now
    return runs.with_columns(pl.when(stands).then(pl.lit(until_ns)).otherwise("end_ts_ns").alias("end_ts_ns"))


@kept_with_session(24)
def touches(session: data.Session, level_id: str) -> np.ndarray:
    """Seconds in which a trade reached the level after `REST_S` without one, int64; of the whole session: not for the browser."""
    lad, frame = session.ladder, data.level_frame(session, level_id)
    seconds = lad.start_ns + np.arange(lad.seconds, dtype=np.int64) * NS
    at = np.searchsorted(frame["start_ts_ns"].to_numpy(), seconds, side="right") - 1
    known = (at >= 0) & (seconds < frame["end_ts_ns"].to_numpy()[np.maximum(at, 0)])
    tick = frame["level_tick"].to_numpy()[np.maximum(at, 0)]
    tape = lad.tape
    traded = known & (tape["trades"].fill_null(0).to_numpy() > 0)
    low, high = (tape[f"{k}_tick"].fill_null(0).to_numpy() for k in ("low", "high"))
    hit = np.flatnonzero(traded & (low <= tick) & (tick <= high))
    return hit[np.diff(hit, prepend=-REST_S - 1) > REST_S]
