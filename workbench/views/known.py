"""What of a session is known at an instant: the one place from which the Level view takes what it sends, standing and playing.

Everything here is asked with `t`, a number of whole seconds since the ladder's start, and answers from seconds before it. Only where the
trader asks for what came after the moment (`Frame.seen`) is it asked with a later one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.errors import NoData, PartitionMissing
from engine.features import pressure_cube
from engine.features.wall_orders import order_marks
from engine.ladder import NO_TICK, known_cells
from engine.lake.catalog import ORDER_EVENTS, dataset
from engine.live.session import Forming
from engine.params import FeatureParams
from engine.session import Session, cached_with_session, levels_so_far, so_far, touches_so_far, windows_so_far
from engine.sessions import PROFILES, SessionWindows, session_windows
from engine.vocab import NS
from workbench import own_levels, session_cache
from workbench.plots import axes, conditions, heatmap
from workbench.plots.heatmap import Layer
from workbench.plots.ladder import rows_of
from workbench.views.viewport import Viewport, level_chip, placed_chip

COLUMNS = 900
"""Columns of the heatmap's image: about the plot's width."""

NEAR_ROWS = 8
"""Rows away from price of which the legend says the typical size."""

MOST_DOTS = 400
"""More dots than these hide each other: the latest stay."""

SCALE_EVERY_S = 600
"""The colour scale is set again so often, seconds."""


class Strip:
    """Cells and counts of a level's conditions for the whole session; `until` gives those of windows that had ended."""

    def __init__(self, session: Session, level_id: str, params: FeatureParams) -> None:
        self.frame = session.windows(level_id, params)
        self.window_ns = params.window_s * NS
        self.ends = self.frame["window_start_ts_ns"].to_numpy() + self.window_ns
        self.cells, self.counts = conditions.strip_data(self.frame, params.window_s, session.day_ns)
        self.width_ms = float(params.window_s * 1000)

    def done(self, now_ns: int) -> int:
        """How many windows had ended."""
        return int(np.searchsorted(self.ends, now_ns, side="right"))

    def _on_grid(self, i: int) -> int:
        """The level's `i`-th window among those of the grid: the strip fills the gaps of a level that had no value for a while."""
        return round((self.ends[i] - self.ends[0]) / self.window_ns)

    def until(self, now_ns: int, since_x: float) -> tuple[dict[str, list[object]], dict[str, object]]:
        """Sources of the strip: windows that had ended, from the axis coordinate `since_x` on."""
        i = self.done(now_ns)
        if i == 0:
            return {k: [] for k in self.cells}, dict(conditions.NO_COUNTS)
        x, last = np.asarray(self.counts["x"]), self._on_grid(i - 1) + 1
        first = min(int(np.searchsorted(x[:last], since_x)), last - 1)
        images: list[object] = [np.ascontiguousarray(np.asarray(m)[:, first:last]) for m in self.cells["image"]]
        places: dict[str, list[object]] = {"x": [float(x[first])] * 2, "dw": [(last - first) * self.width_ms] * 2}
        counts: dict[str, object] = {"x": np.append(x[first:last], x[last - 1] + self.width_ms)}
        for d in conditions.BASE:
            v = np.asarray(self.counts[d])[first:last]
            counts[d] = np.append(v, v[-1])
        return {**self.cells, "image": images, **places}, counts

    def fresh(self, before: int, now_ns: int) -> list[list[object]]:
        """Windows from the `before`-th that had ended: axis coordinate, width in ms, codes and heights of both bands, in `BASE`'s order."""
        i = self.done(now_ns)
        if i <= before:
            return []
        x, *bands = (np.asarray(self.counts[k]) for k in ("x", *conditions.BASE))
        images = [np.asarray(m) for m in self.cells["image"]]
        return [
            [float(x[k]), self.width_ms, [m[:, k].tolist() for m in images], [float(v[k]) for v in bands]]
            for k in range(self._on_grid(before), self._on_grid(i - 1) + 1)
        ]


@cached_with_session(1, levels_so_far)
def _marks(session: Session) -> pl.DataFrame:
    """All marks of the session."""
    events = session.order_events
    return order_marks(dataset(ORDER_EVENTS).contract().empty() if events is None else events)


def marks(session: Session, low: int, seen: int) -> pl.DataFrame:
    """Marks of what single orders did (`engine.features.wall_orders.order_marks`) in the seconds from `low` to before `seen`."""
    found, start = _marks(session), session.ladder.start_ns
    first, last = np.searchsorted(found["ts_ns"].to_numpy(), (start + max(low, 0) * NS, start + seen * NS))
    return found.slice(first, max(last - first, 0))


class Slab:
    """Seconds ``[begin, end)`` of the ladder, ticks `low` to `high`: values to paint, and what the ladder beside it is made from.

    The arrays reach beyond the replay's time; `image` and `rows` give nothing of it.
    """

    def __init__(
        self, session: Session, begin: int, end: int, low: int, high: int, step: int, layer: Layer, half_life_s: float, scale_at: int
    ) -> None:
        self.begin, self.end, self.low, self.high, self.step, self.layer = begin, end, low, high, step, layer
        self.key = step, layer.key, half_life_s, scale_at
        """What else the values depend on: rows, layer, half-life, and the second that set the colours."""
        self.top = scale_top(session, layer, step, half_life_s, scale_at)
        self.pool = -(-(end - begin) // COLUMNS)
        self._half_life_s, self._filled = half_life_s, begin
        low_tick, rows = low // step * step, (high - low // step * step) // step + 1
        self.ticks: np.ndarray = low_tick + step * np.arange(rows, dtype=np.int64)
        """Lowest tick of each row."""
        cells = (end - begin, rows)
        self.shown = np.full(cells, np.nan, np.float32)
        self.valid, self.near = (np.zeros(end - begin, np.bool_) for _ in range(2))
        self.known = np.zeros(cells, np.bool_)
        self._of = {k: np.full(cells, np.nan, np.float32) for k in ("long", "short", "bid_depth", "ask_depth", "bid_fill", "ask_fill")}
        self._start = {s: np.zeros(rows, np.float32) for s in ("bid", "ask")}
        self._usual = typical_sizes(session, step, scale_at) if layer.key == "depth" else None
        self.times = None if self._usual is None else np.full(cells, np.nan, np.float32)
        """Resting size in multiples of what is typical at its distance from price, float32 (seconds, rows); None of other layers."""
        self.typical = None if self._usual is None else float(np.median(self._usual[:NEAR_ROWS]))
        """Typical size near price, contracts."""
        self.reach(session)

    def reach(self, session: Session) -> None:
        """Read the seconds that were closed since: a session under way grows."""
        # That a book was crossed for too long is known only later.
        changed = np.flatnonzero(session.ladder.valid[self.begin : self._filled] != self.valid[: self._filled - self.begin])
        a, b = self.begin + int(changed[0]) if changed.size else self._filled, min(self.end, session.known_seconds)
        if b <= a:
            return
        start = session.ladder.start_ns
        cube = pressure_cube(
            session.ladder, start + a * NS, start + b * NS, self.low, self.high, step_ticks=self.step, half_life_s=self._half_life_s
        )  # fmt: skip
        at = slice(a - self.begin, b - self.begin)
        self.shown[at] = heatmap.values(cube, self.layer)
        self.valid[at] = cube["book_valid"].to_numpy()
        self.near[at], self.known[at] = heatmap.near_windows(cube), known_cells(cube)
        for k, values in self._of.items():
            values[at] = cube[k].to_numpy()
        if self.times is not None and self._usual is not None:
            last = session.ladder.last_tick[a:b].astype(np.int64)
            away = np.abs(self.ticks[None, :] - np.where(last == NO_TICK, self.ticks[self.ticks.size // 2], last)[:, None])
            self.times[at] = self.shown[at] / self._usual[np.minimum(away // self.step, self._usual.size - 1)]
        if a == self.begin:
            self._start = {s: (cube[f"{s}_depth"] - cube[f"{s}_change"]).to_numpy()[0].astype(np.float32) for s in ("bid", "ask")}
        self._filled = b

    @property
    def columns(self) -> int:
        """Columns of the whole image."""
        return -(-(self.end - self.begin) // self.pool)

    def column_of(self, t: int) -> int:
        """Column in which second `t` lies."""
        return (t - self.begin) // self.pool

    def block(self, first: int, t: int) -> np.ndarray:
        """Exact values of the columns from `first` to that of second ``t - 1``, float32 (rows, columns), of seconds before `t`."""
        a, b = first * self.pool, min(t, self.end) - self.begin
        if b <= a:
            return np.empty((self.ticks.size, 0), np.float32)
        if self.layer.kind == "signed" and self.pool > 1:
            return heatmap.pool_net(self._of["long"][a:b], self._of["short"][a:b], self.pool).T
        return heatmap.pool_windows(self.shown[a:b], self.pool).T

    def codes(self, first: int, t: int, values: np.ndarray | None = None) -> np.ndarray:
        """Codes of those columns, uint8 (rows, columns): of resting size multiples of the typical, of the others shares of `top`.

        `values` are their exact ones (`block`), where they are at hand.
        """
        if self.times is None:
            return heatmap.codes(self.block(first, t) if values is None else values, self.layer, self.top)
        a, b = first * self.pool, min(t, self.end) - self.begin
        if b <= a:
            return np.empty((self.ticks.size, 0), np.uint8)
        return heatmap.times_codes(heatmap.pool_windows(self.times[a:b], self.pool).T)

    def image(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and exact values of all columns at `t`; what comes later is empty."""
        values = np.full((self.ticks.size, self.columns), np.nan, np.float32)
        codes = np.zeros(values.shape, np.uint8)
        known = self.block(0, t)
        values[:, : known.shape[1]] = known
        codes[:, : known.shape[1]] = self.codes(0, t, known)
        return codes, values

    def dots(self, a: int, t: int, least: float) -> list[tuple[int, int, float, str]]:
        """Trades of at least `least` contracts in a second at a price, in seconds ``[a, t)``: second, tick, contracts, who took.

        Buyers took what was asked (``long``), sellers what was bid (``short``).
        """
        a, b = max(a, self.begin) - self.begin, min(t, self.end) - self.begin
        out: list[tuple[int, int, float, str]] = []
        if b <= a:
            return out
        for side, colour in (("ask", "long"), ("bid", "short")):
            size = self._of[f"{side}_fill"][a:b]
            for i, j in zip(*np.nonzero(size >= max(least, 1.0))):
                out.append((self.begin + a + int(i), int(self.ticks[j]), float(size[i, j]), colour))
        return sorted(out)[-MOST_DOTS:]

    def wall_since(self, tick: int, t: int) -> int:
        """Second from which on at least half of what rests at `tick` before `t` has rested there without a gap."""
        j = int(tick - self.ticks[0]) // self.step
        if not 0 <= j < self.ticks.size:
            return t - 1
        size = np.maximum(self._of["bid_depth"][: t - self.begin, j], self._of["ask_depth"][: t - self.begin, j])
        less = np.flatnonzero(size < 0.5 * size[-1])
        return self.begin + (int(less[-1]) + 1 if less.size else 0)

    def rows(self, t: int, window_s: int, trailing: bool, k_ref: int, forming: Forming | None = None) -> pl.DataFrame:
        """The ladder (`workbench.plots.ladder.rows_of`) of one window, the `window_s` seconds before `t`.

        With `trailing` flows are summed over it; else (they fade already) they are those of the last second. With `forming` what changed
        since then is added.
        """
        i, a = t - self.begin, max(t - self.begin - window_s, 0)
        out: dict[str, np.ndarray] = {}
        with np.errstate(invalid="ignore"):
            for k in ("long", "short"):
                out[k] = np.nansum(self._of[k][a:i], axis=0) if trailing else np.nan_to_num(self._of[k][i - 1])
            new = {k: self._in_rows(forming, k) for k in ("long", "short", "bid", "ask")}
            for k in ("long", "short"):
                out[k] = out[k] + new[k]
            out["net"] = (out["long"] - out["short"]) / (out["long"] + out["short"] + 1)
            for s in ("bid", "ask"):
                depth = self._of[f"{s}_depth"]
                out[f"{s}_depth"] = depth[i - 1] + new[s]
                out[f"{s}_change"] = out[f"{s}_depth"] - (depth[a - 1] if a else self._start[s])
        known = self.known[i - 1]
        return rows_of({k: np.where(known, v, 0) for k, v in out.items()}, known, self.ticks, k_ref)

    def _in_rows(self, forming: Forming | None, what: str) -> np.ndarray:
        """A change of the second under way, summed by row."""
        out = np.zeros(self.ticks.size, np.float32)
        if forming is not None:
            row = (forming.tick - int(self.ticks[0])) // self.step
            inside = (row >= 0) & (row < self.ticks.size)
            np.add.at(out, row[inside], getattr(forming, what)[inside])
        return out


def slab(session: Session, begin: int, end: int, low: int, high: int, step: int, layer_key: str, half_life_s: float, scale_at: int) -> Slab:
    """The slab, its colours those of what was known at second `scale_at`, with all seconds that are there."""
    made = _slab(session, begin, end, low, high, step, layer_key, half_life_s, scale_at)
    made.reach(session)
    return made


@cached_with_session(6)
def _slab(
    session: Session, begin: int, end: int, low: int, high: int, step: int, layer_key: str, half_life_s: float, scale_at: int
) -> Slab:
    return Slab(session, begin, end, low, high, step, heatmap.LAYERS[layer_key], half_life_s, scale_at)


TYPICAL_ROWS, TYPICAL_MOMENTS, TYPICAL_S = 60, 12, 3600
"""What is typical is known for so many rows away from price, from so many moments of the last so many seconds."""


@cached_with_session(32)
def typical_sizes(session: Session, step: int, t: int) -> np.ndarray:
    """Typical resting size by rows away from the last trade, contracts, of the hour before second `t`; float64 (`TYPICAL_ROWS`,).

    The median of what rested there at `TYPICAL_MOMENTS` moments on both sides, smoothed over five rows; never below one contract.
    """
    lad, reach = session.ladder, (TYPICAL_ROWS - 1) * step
    there = np.flatnonzero((lad.last_tick[:t] != NO_TICK) & lad.valid[:t])
    there = there[there >= t - TYPICAL_S]
    if not there.size:
        return np.ones(TYPICAL_ROWS)
    found = []
    for s in there[np.unique((np.linspace(0, 1, TYPICAL_MOMENTS) * (there.size - 1)).astype(int))].tolist():
        at, mid = lad.start_ns + s * NS, int(lad.last_tick[s])
        cube = lad.cube(at, at + NS, mid - reach, mid + reach, window_s=1, step_ticks=step)
        size = (cube["bid_depth"] + cube["ask_depth"]).to_numpy()[0].astype(float)
        away = np.abs(cube["tick"].to_numpy().astype(np.int64) - mid) // step
        found += [(away[keep], size[keep]) for keep in [(size > 0) & (away < TYPICAL_ROWS)]]
    away, size = (np.concatenate(x) for x in zip(*found))
    typical = np.array([np.median(size[away == d]) if (away == d).any() else np.nan for d in range(TYPICAL_ROWS)])
    if np.isnan(typical).all():
        return np.ones(TYPICAL_ROWS)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(typical, 2, mode="edge"), 5)
    with np.errstate(invalid="ignore"):
        smooth = np.array([np.nanmedian(w) if np.isfinite(w).any() else np.nan for w in around])
    return np.maximum(np.where(np.isnan(smooth), np.nanmedian(typical), smooth), 1.0)


@cached_with_session(32)
def large_trade(session: Session, t: int) -> float:
    """Contracts from which on a trade is a large one: the 97.5% quantile of what traded in a second at a price before second `t`."""
    n = int(session.ladder.offset[min(t, session.ladder.seconds)])
    traded = session.ladder.values[:n, session_cache.FILL].sum(axis=1)
    traded = traded[traded > 0]
    return float(np.ceil(np.quantile(traded, 0.975))) if traded.size else 1.0


@cached_with_session(4, windows_so_far)
def strip(session: Session, level_id: str, params: FeatureParams) -> Strip:
    """The level's strip."""
    return Strip(session, level_id, params)


def scale_top(session: Session, layer: Layer, step: int, half_life_s: float, t: int) -> float:
    """End of the colour scale, from what was known at the last whole `SCALE_EVERY_S` before `t` (in the first of them: at `t` itself)."""
    return 1.0 if layer.kind == "signed" else session.size_top_before(layer.parts, step, half_life_s, t)


def scale_time(t: int, begin: int = 0) -> int:
    """The second up to which the session sets the colour scale at `t`; `begin` is the first one in which the book was known."""
    set_at = t // SCALE_EVERY_S * SCALE_EVERY_S
    # In the first ten minutes of a book every half a minute: nothing was known before.
    return set_at if set_at > begin + SCALE_EVERY_S or t <= begin else max(begin + min(t - begin, SCALE_EVERY_S) // 30 * 30, set_at)


@cached_with_session(1, so_far)
def first_known(session: Session) -> int:
    """The first second in which the book was known and something had traded; 0 where there is none so far."""
    lad = session.ladder
    known = lad.valid & (lad.last_tick != NO_TICK)
    return int(np.argmax(known))


@cached_with_session(1, levels_so_far)
def _steps(session: Session) -> dict[str, tuple[list[int], list[int], list[int]]]:
    """Starts, ends and ticks of each level's steps, in the screen's order: lists, since every frame asks where each level is."""
    out = {}
    for i in session_cache.ordered_level_ids(session):
        rows = session.levels.filter(pl.col("level_id") == i).sort("start_ts_ns")
        if rows.height:
            out[i] = tuple(rows[c].to_list() for c in ("start_ts_ns", "end_ts_ns", "level_tick"))
    return out  # type: ignore[return-value]


def known_levels(session: Session, t: int) -> list[str]:
    """Ids of the levels that had a value, in the screen's order."""
    now = session.ladder.start_ns + t * NS
    return [i for i, (starts, _, _) in _steps(session).items() if starts[0] < now]


def tick_now(session: Session, level_id: str, t: int) -> int | None:
    """Tick of a level of the session in the second before `t`; None where it had no value."""
    starts, ends, ticks = _steps(session)[level_id]
    now = session.ladder.start_ns + t * NS - 1
    i = bisect_right(starts, now) - 1
    return ticks[i] if i >= 0 and now < ends[i] else None


def known_runs(session: Session, level_id: str, t: int, since_ns: int, until_ns: int) -> pl.DataFrame:
    """Level lines that had begun; those that have not ended at `t` are drawn on to `until_ns`, whatever becomes of them."""
    now = session.ladder.start_ns + t * NS
    runs = session_cache.runs(session, level_id).filter((pl.col("start_ts_ns") < now) & (pl.col("end_ts_ns") > since_ns))
    to_tick, mine = session.ladder.root.to_tick, own_levels.of_session(session)
    own = [(i, since_ns, until_ns, to_tick(v.price)) for i, v in mine.items() if i != level_id]
    runs = pl.concat([runs, pl.DataFrame(own, schema=runs.schema, orient="row")]) if own else runs
    return runs.with_columns(pl.when(pl.col("end_ts_ns") >= now).then(pl.lit(until_ns)).otherwise("end_ts_ns").alias("end_ts_ns"))


def touches(session: Session, level_id: str) -> np.ndarray:
    """Seconds of the session in which price touched the level (`engine.session.Session.touches`), int64; not for the browser."""
    return (session.touches(level_id) - session.ladder.start_ns) // NS


@cached_with_session(24, touches_so_far)
def marked_touches(session: Session, level_id: str) -> np.ndarray:
    """As `touches`; none where the lake has neither gold nor trades: the keys that jump to a touch say so, the scrubber marks none."""
    try:
        return touches(session, level_id)
    except PartitionMissing:
        return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Quotes:
    """Best bid, best ask and last trade of every second of a session, as `workbench.plots.heatmap.quote_data` has them."""

    x: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    last: np.ndarray

    def between(self, a: int, t: int, every: int) -> dict[str, list[object]]:
        """Windows of `every` seconds that ended after `a` and not after `t`: start, and the prices at the end."""
        begin, end = a // every * every, t // every * every
        first, last = slice(begin, end, every), slice(begin + every - 1, end, every)
        return {"x": self.x[first].tolist(), **{k: getattr(self, k)[last].tolist() for k in ("bid", "ask", "last")}}


@cached_with_session(1, so_far)
def quotes(session: Session) -> Quotes:
    """The session's best prices."""
    made = heatmap.quote_data(session.ladder.tape, session.day_ns)
    return Quotes(**{k: np.asarray(made[k], dtype=float) for k in ("x", "bid", "ask", "last")})


# ----------------------------------------------------------------------------
# Chips of the levels: what is known, what is not known yet and from when on it will be, what the session lacks

KNOWN_FROM = {
    "pm_high": "premarket_end_ns", "pm_low": "premarket_end_ns", "or_high": "opening_range_end_ns", "or_low": "opening_range_end_ns",
    "vwap": "trading_start_ns",
}  # fmt: skip
"""Key level -> the instant of the session's calendar from which it can be known (lake.md, Levels); VWAP with the first trade after it."""


@dataclass(frozen=True)
class Unknown:
    """Why a level has no value: `yet` where its time has not come; `why` in words."""

    yet: bool
    why: str


def _windows(session: Session, profile: str) -> SessionWindows | None:
    """The session's windows by a profile; None where that has no session on the date."""
    try:
        return session_windows(session.date, profile, session.ladder.root)
    except NoData:
        return None


def unknown(session: Session, level_id: str, t: int) -> Unknown:
    """Why a level has no value at second `t`: by the session's calendar and what traded before, not by what becomes of it."""
    start, now = session.ladder.start_ns, session.ladder.start_ns + t * NS
    # Of a session made from frames, whose profile nobody wrote down, it is the first in whose session its ladder begins.
    names = [session.profile] if session.profile else list(PROFILES)
    windows = next((w for name in names if (w := _windows(session, name)) and w.ladder_start_ns <= start < w.ladder_end_ns), None)
    if windows is None or level_id not in KNOWN_FROM:
        return Unknown(False, "not known at this time")
    begin = getattr(windows, KNOWN_FROM[level_id])
    clock = axes.clock(begin, seconds=False)
    if level_id != "vwap":
        return Unknown(True, f"known from {clock}") if now <= begin else Unknown(False, f"it would be known from {clock}")
    # The second that ends now gives it a value from now on: what is asked for is what was known before.
    first, last = max((begin - start) // NS, 0), max(t - 1, 0)
    traded = session.ladder.tape.select("buy_volume", "sell_volume")[first:last].sum_horizontal().sum() if last > first else 0
    if traded:
        return Unknown(False, f"not known, though there were trades since {clock}")
    return Unknown(True, f"known from {clock}, with the first trade")


def known_items(session: Session, chosen: str, t: int, last: int | None) -> list[dict[str, object]]:
    """Chips of the levels that are known at second `t`; the key levels that are not are there without a price."""
    now, known, own = session.ladder.start_ns + t * NS, known_levels(session, t), own_levels.of_session(session)

    def chip(i: str) -> dict[str, object]:
        tick = own_levels.tick_of(session, own, i, now - 1) if i in known or i in own or i == chosen else None
        if tick is not None:
            mine = own.get(i)
            more = {} if mine is None else {"label": own_levels.title_among(own, i), **({"title": mine.note} if mine.note else {})}
            return placed_chip(i, tick, last, session.tick_size, **more)
        if i == chosen:
            return level_chip(i, mark="not yet")
        lacks = unknown(session, i, t)
        return level_chip(i, absent=lacks.why, **({"word": "not yet"} if lacks.yet else {}))

    return [chip(i) for i in dict.fromkeys([*session_cache.KEY_LEVELS, *own, *known, chosen])]


# ----------------------------------------------------------------------------
# A frame: what is looked at, and how much of the session around it

SHIFTS = 10
"""The chart moves on by so many parts of its span: a picture that does not move costs a patch, a moving one all its axes."""


@dataclass(frozen=True)
class Frame:
    """What is looked at, and how much of the session around it is shown.

    `t` seconds of the session have passed; seconds ``[low, high)`` are shown, empty from `seen` on, which is `t` unless the trader asked
    for what came after; `centre` is the tick in the middle of the price axis, and `panned` says that the trader moved the axes.
    `forming` is what changed since then in the second under way of a session that is followed: the ladder and the last price show it, and
    nothing else.
    """

    look: Viewport
    t: int
    low: int
    high: int
    centre: int
    slab: Slab
    seen: int
    panned: bool = False
    forming: Forming | None = None

    @property
    def now_ns(self) -> int:
        """The instant, ns since the epoch."""
        return self.look.session.ladder.start_ns + self.t * NS

    @property
    def seen_ns(self) -> int:
        """The instant up to which the picture shows something, ns since the epoch."""
        return self.look.session.ladder.start_ns + self.seen * NS

    @property
    def strip(self) -> Strip:
        """The conditions of the level looked at."""
        return strip(self.look.session, self.look.level_id, self.look.params)

    @property
    def quote_step(self) -> int:
        """Seconds between two points of the best prices' lines: about two to a column."""
        return max((self.high - self.low) // (2 * COLUMNS), 1)

    def x(self, second: int) -> float:
        """Axis coordinate of a second of the session."""
        s = self.look.session
        return float(axes.x_ms(s.ladder.start_ns + second * NS, s.day_ns))


def stretch(t: int, span_s: int, seconds: int) -> tuple[int, int]:
    """Seconds shown at `t`, ``[low, high)``: a function of `t` alone, the present in the last tenth or so."""
    if span_s >= seconds:
        return 0, seconds
    shift = max(span_s // SHIFTS, 1)
    high = (t // shift + 1) * shift + shift // 4
    low = max(high - span_s, 0)
    return low, low + span_s


def middle(had: int | None, level: int | None, last: int | None, rows: int) -> int:
    """Tick in the middle of the price axis: the level, or the last trade where that is out of the level's picture.

    It stays at `had` while what matters is well inside, so that the picture does not jump.
    """
    if level is None and last is None:
        return had or 0
    if last is None or (level is not None and abs(last - level) <= (rows * 5) // 8):
        assert level is not None
        return had if had is not None and abs(had - level) <= rows // 4 else level
    return had if had is not None and abs(last - had) <= (rows * 3) // 4 else last
