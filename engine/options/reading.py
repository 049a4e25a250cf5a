"""What was known of a session's options at an instant, from the lake's tables: gamma by price, walls and zero, flow by strike.

A minute of gamma is known from its start on, since it is made of what was received before; a wall or a zero from the start of its step,
a window of trades from its end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import ContractError, EngineError
from engine.lake.catalog import CHAIN, FLOW, MARKS, OPTION_LEVELS, PROFILE, dataset
from engine.options.chain import BUCKETS
from engine.options.flow import FLOW_COLUMNS
from engine.options.profile import PARTS, RULES, SCOPES
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.lake.store import Lake

OLDEST_S = 300
"""Gamma of a minute longer ago than so many seconds is not told: where the book is not known there are no marks."""

UP, DOWN, UNSIGNED = ("call_bought", "put_sold"), ("put_bought", "call_sold"), ("call_unsigned", "put_unsigned")
"""Trades that push the future up when whoever took the other side hedges, and down; and those whose side nobody knows."""

WALL_RULE = "oi"


@dataclass(frozen=True)
class StrikeFlow:
    """Trades at strikes, in contracts of the future: what pushes up, what down, and what has no side; and the options' own contracts."""

    strike: NDArray[np.float64]
    up: NDArray[np.float64]
    down: NDArray[np.float64]
    unsigned: NDArray[np.float64]
    contracts: dict[str, NDArray[np.float64]]


class SessionOptions:
    """A session's options as the lake has them; `open` gives None where it has none."""

    def __init__(
        self, profile: pl.DataFrame, levels: pl.DataFrame, flow: pl.DataFrame, marks: Callable[[], pl.DataFrame], chain: pl.DataFrame
    ) -> None:
        """Tables of one session; `marks` (``minute_ts_ns, strike, iv_source``) are read when they are first asked for."""
        ordered = profile.sort("minute_ts_ns", pl.col("scope").replace_strict({s: i for i, s in enumerate(SCOPES)}), "price")
        self.minutes: NDArray[np.int64] = ordered["minute_ts_ns"].unique(maintain_order=True).to_numpy()
        m, s = len(self.minutes), len(SCOPES)
        rows = _rows(ordered)
        shape = (m, s, rows)
        self.gamma: NDArray[np.float64] = ordered.select(PARTS).to_numpy().reshape(*shape, len(PARTS))
        self.price: NDArray[np.float64] = ordered["price"].to_numpy().reshape(shape)[:, 0]
        first = ordered.gather_every(max(rows, 1))
        self.used, self.dropped = (first[c].to_numpy().reshape(m, s) for c in ("contracts_used", "contracts_dropped"))
        self.oi_ns = [None if v is None else int(v) for v in first["oi_as_of_ts_ns"].gather_every(s).to_list()]
        self._levels, self._steps = levels.sort("level_id", "start_ts_ns"), dict[tuple[str, str], pl.DataFrame]()
        flow = flow.sort("window_end_ts_ns", "strike")
        self._ends: NDArray[np.int64] = flow["window_end_ts_ns"].to_numpy()
        self._strikes: NDArray[np.float64] = np.unique(flow["strike"].to_numpy())
        self._strike_of = np.searchsorted(self._strikes, flow["strike"].to_numpy())
        self._bucket = flow["expiry_bucket"].replace_strict({b: i for i, b in enumerate(BUCKETS)}, return_dtype=pl.Int64).to_numpy()
        self._flow = {c: flow[c].to_numpy() for name in FLOW_COLUMNS for c in (name, f"{name}_es")}
        self._marks, self._chain = marks, chain
        self.marks_lack = ""
        """Why the marks cannot be read, once they were asked for; without them everything but the volatility's sources is known."""

    @classmethod
    def open(cls, lake: Lake, symbol: str, date: dt.date) -> SessionOptions | None:
        """The session's options; None where the lake has no gamma of it. Raises EngineError where a table is harmed."""
        if lake.find_manifest(PROFILE, symbol, date) is None:
            return None
        frames = (lake.read(PROFILE, symbol, date), lake.read(OPTION_LEVELS, symbol, date), lake.read(FLOW, symbol, date))

        def marks() -> pl.DataFrame:
            return lake.read(MARKS, symbol, date, ("minute_ts_ns", "strike", "iv_source"))

        chain = lake.read(CHAIN, symbol, date, ("oi_ref_date", "oi_ts_ns"))
        try:
            made = cls(*frames, marks, chain)
        except ContractError as e:
            raise ContractError(f"{e}; `{lake.repair_command(PROFILE, symbol, date, overwrite=True)}` rebuilds it") from e
        return made if len(made.minutes) else None

    # --- gamma

    def minute(self, now_ns: int) -> int | None:
        """Number of the last minute that is known at an instant; None where there is none, or it is longer ago than `OLDEST_S`."""
        i = int(np.searchsorted(self.minutes, now_ns, side="right")) - 1
        return i if i >= 0 and now_ns - self.minutes[i] < OLDEST_S * NS else None

    def parts(self, minute: int, scope: str, prices: NDArray[Any]) -> NDArray[np.float64]:
        """The four `PARTS` at prices of a minute ``(prices, 4)``, in contracts a point; NaN beyond the prices that the minute has."""
        at, made = self.price[minute], self.gamma[minute, SCOPES.index(scope)]
        return np.column_stack([np.interp(prices, at, made[:, j], left=np.nan, right=np.nan) for j in range(len(PARTS))])

    def by_rule(self, minute: int, scope: str, price: float) -> dict[str, float]:
        """Dealers' gamma at a price under each rule, contracts a point.

        NaN beyond the prices that the minute has, where no option of the scope counts, and of open interest alone before the first of it.
        """
        parts = self.parts(minute, scope, np.array([price]))[0]
        if not self.used[minute, SCOPES.index(scope)]:
            parts = np.full(len(PARTS), np.nan)
        known = {rule: float(parts @ np.array(weights)) for rule, weights in RULES.items()}
        return known if self.oi_ns[minute] is not None else known | {"naive": np.nan}

    def oi_date(self, minute: int) -> dt.date | None:
        """Trade date of the newest open interest at a minute; None before the first."""
        at = self.oi_ns[minute]
        return None if at is None else self._oi_dates.get(at)

    @cached_property
    def _oi_dates(self) -> dict[int, dt.date]:
        spoken = self._chain.filter(pl.col("oi_ts_ns").is_not_null() & pl.col("oi_ref_date").is_not_null())
        return {int(at): date for at, date in spoken.group_by("oi_ts_ns").agg(pl.col("oi_ref_date").max()).iter_rows()}

    def sources(self, minute: int) -> dict[float, dict[str, int]]:
        """By strike, of how many expiries the volatility is from where (`engine.options.marks.SOURCES`) at a minute.

        Of marks that cannot be read there are none, and `marks_lack` says why.
        """
        out: dict[float, dict[str, int]] = {}
        a, b = np.searchsorted(self._source_minutes, self.minutes[minute] + np.array([0, 1]))
        for _, strike, source, n in self._sources.slice(int(a), int(b - a)).iter_rows():
            out.setdefault(strike, {})[source] = n
        return out

    @cached_property
    def _sources(self) -> pl.DataFrame:
        try:
            marks = self._marks()
        except EngineError as e:
            # They are read with the first row that the pointer can read out: the frame has all else.
            self.marks_lack = str(e)
            marks = dataset(MARKS).contract().empty()
        return marks.group_by("minute_ts_ns", "strike", "iv_source").len().sort("minute_ts_ns", "strike", "iv_source")

    @cached_property
    def _source_minutes(self) -> NDArray[np.int64]:
        return self._sources["minute_ts_ns"].to_numpy()

    # --- walls and zero

    def steps(self, scope: str, rule: str) -> pl.DataFrame:
        """``level_id, start_ts_ns, end_ts_ns, price`` of the walls of a scope and of its zero under a rule."""
        if (scope, rule) not in self._steps:
            mine = (pl.col("scope") == scope) & pl.col("rule").is_in([WALL_RULE, rule])
            self._steps[scope, rule] = self._levels.filter(mine).select("level_id", "start_ts_ns", "end_ts_ns", "price")
        return self._steps[scope, rule]

    def levels_at(self, now_ns: int, scope: str, rule: str) -> dict[str, float]:
        """Prices of the walls and of the zero that are known at an instant, by level."""
        now = (pl.col("start_ts_ns") <= now_ns) & (pl.col("end_ts_ns") > now_ns)
        return {i: float(p) for i, p in self.steps(scope, rule).filter(now).select("level_id", "price").iter_rows()}

    # --- flow

    def flow(self, now_ns: int, seconds: int, scope: str) -> StrikeFlow:
        """Trades by strike of the windows that ended in the last `seconds` before an instant."""
        a, b = np.searchsorted(self._ends, (now_ns - seconds * NS, now_ns), side="right")
        counts = self._bucket[a:b] <= SCOPES.index(scope)
        at, n = self._strike_of[a:b][counts], len(self._strikes)

        def total(*columns: str) -> NDArray[np.float64]:
            return np.sum([np.bincount(at, self._flow[c][a:b][counts], n) for c in columns], axis=0)

        up, down, unsigned = (total(*(f"{c}_es" for c in side)) for side in (UP, DOWN, UNSIGNED))
        return StrikeFlow(self._strikes, up, down, unsigned, {c: total(c) for c in FLOW_COLUMNS})

    def flow_windows(
        self, now_ns: int, windows: int, window_ns: int, scope: str, low: float, high: float
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """(strikes, what was bought and sold) of the last `windows` windows that had ended at an instant, of strikes from `low` to `high`.

        By each of `UP` and `DOWN`: contracts of the future ``(windows, strikes)``, the newest last
        """
        last = now_ns // window_ns * window_ns
        a, b = np.searchsorted(self._ends, (last - windows * window_ns, last), side="right")
        i, j = np.searchsorted(self._strikes, (low, high), side="left"), np.searchsorted(self._strikes, high, side="right")
        first, end = int(i[0]), int(j)
        inside = (self._bucket[a:b] <= SCOPES.index(scope)) & (self._strike_of[a:b] >= first) & (self._strike_of[a:b] < end)
        shape = (windows, max(end - first, 0))
        at = windows - 1 - (last - self._ends[a:b][inside]) // window_ns, self._strike_of[a:b][inside] - first
        made = {c: np.zeros(shape) for c in (*UP, *DOWN)}
        for c, total in made.items():
            np.add.at(total, at, self._flow[f"{c}_es"][a:b][inside])
        return self._strikes[first:end], made


def _rows(profile: pl.DataFrame) -> int:
    """How many prices each minute and scope of a profile has; ContractError where they have different numbers of them."""
    counts = profile.group_by("minute_ts_ns", "scope").len().sort("minute_ts_ns", "scope")
    minutes = profile["minute_ts_ns"].n_unique()
    if not minutes:
        return 0
    rows = int(counts["len"].mode().max())  # type: ignore[arg-type]
    odd = counts.filter(pl.col("len") != rows)
    if odd.height:
        at, scope, n = odd.row(0)
        raise ContractError(f"{PROFILE}: expected {rows} prices in each minute and scope, found {n} of {scope} at minute_ts_ns {at}")
    if counts.height != minutes * len(SCOPES):
        expected = f"{len(SCOPES)} scopes in each of {minutes} minutes, {minutes * len(SCOPES)} in all"
        raise ContractError(f"{PROFILE}: expected {expected}, found {counts.height}")
    return rows


AGREE_SHARE = 0.10
"""A rule disagrees with another of the opposite sign where its gamma is at least this share of the largest: less is next to nothing."""


def rules_disagree(by_rule: Mapping[str, float]) -> bool:
    """Whether rules disagree on the sign of gamma (`SessionOptions.by_rule`).

    Examples
    --------
    >>> rules_disagree({"naive": 180.0, "flow": -490.0, "hybrid": -310.0}), rules_disagree({"naive": 180.0, "flow": -2.0, "hybrid": 178.0})
    (True, False)
    """
    known = [g for g in by_rule.values() if not np.isnan(g)]
    least = AGREE_SHARE * max((abs(g) for g in known), default=0.0)
    return any(g <= -least for g in known if g) and any(g >= least for g in known if g)


def hedge_of(parts: NDArray[np.float64], rule: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(of calls, of puts): dealers' gamma under a rule from the four `PARTS` ``(..., 4)``, contracts a point; positive is sold as price
    rises, and so goes against its travel.
    """
    w = np.array(RULES[rule]) * parts
    return w[..., 0] + w[..., 2], w[..., 1] + w[..., 3]
