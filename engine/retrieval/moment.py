"""A query at any moment and price: the columns and the vector of a trigger that no table holds."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import NoData, SessionError
from engine.retrieval.events import Events
from engine.retrieval.gold import MIRROR, TriggerKnobs, grouped, knobs_of
from engine.vocab import NS, Approach

if TYPE_CHECKING:
    import polars as pl

    from engine.ladder import Ladder
    from engine.lake.store import Lake


def moment_events(
    lake: Lake,
    symbol: str,
    date: dt.date,
    level_id: str,
    time_ns: int,
    *,
    price: float | None = None,
    approach: str | None = None,
    representation: str = "means",
) -> Events:
    """One query: the last whole window that ended by `time_ns`, at a level of the lake or at a price of the user's own.

    Parameters
    ----------
    level_id
        A level of the session; with `price` a name for the user's own, such as ``price:6800.25``.
    time_ns
        The moment, ns since the epoch; nothing after the window's end is looked at.
    price
        The user's own level.
    approach
        ``approach_up`` or ``approach_down``; by default the side on which the last trade stands, or came from.
    representation
        ``means`` or ``blocks``.

    Raises
    ------
    PartitionMissing
        Where the session is not in the lake, with the command that makes it.
    SessionError
        Where the moment is outside the session, or the level has no value then.
    NoData
        Where no trade tells the side.
    """
    import polars as pl

    from engine.features.vector import trigger_vectors, vector_names
    from engine.ladder import NO_TICK, Ladder
    from engine.lake.catalog import LEVELS
    from engine.setups.steps import ticks_at
    from engine.setups.timeline import Timeline

    ladder = Ladder.open(lake, symbol, date)
    levels = lake.read(LEVELS, symbol, date)
    if price is not None:
        from engine.features.windows import level_steps

        levels = pl.concat([levels.filter(pl.col("level_id") != level_id), level_steps(level_id, price, ladder)])
    have = levels["level_id"].unique(maintain_order=True).to_list()
    if level_id not in have:
        raise SessionError(f"{symbol} {date}: expected a level of {', '.join(have)}, found {level_id!r}; --price makes one of your own")
    knobs = knobs_of(lake, symbol, date)
    features, setups = knobs.features, knobs.setups
    trades = _trades(lake, symbol, date, ladder.start_ns, time_ns)
    line = Timeline(ladder, trades, features.window_s)
    w = int(np.searchsorted(line.ends, time_ns, side="right")) - 1
    if w < 0 or time_ns > ladder.end_ns + features.window_s * NS:
        raise SessionError(f"{symbol} {date}: expected a moment in ({ladder.start_ns}, {ladder.end_ns}] ns, found {time_ns}")
    ticks = {v: int(ticks_at(levels, v, line.starts[w : w + 1], ladder)[0]) for v in have}
    tick, last = ticks[level_id], int(line.last[w])
    if tick == NO_TICK or last == NO_TICK:
        raise SessionError(f"{symbol} {date}: {level_id} has no value, or there is no trade yet, at {time_ns}; a later moment has")
    side = approach or _side(ladder.last_tick[: int(line.end_second[w]) + 1], tick, f"{symbol} {date} {level_id}")
    end = int(line.ends[w])
    frame = pl.DataFrame(
        {
            "trigger_id": [f"{date}/{symbol}/{level_id}/{side}/moment/{end}"],
            "episode_id": [f"{date}/{symbol}/{level_id}/{side}/moment"],
            "session_date": [date],
            "level_id": [level_id],
            "approach": [side],
            "kind": ["moment"],
            "window_start_ts_ns": [int(line.starts[w])],
            "window_end_ts_ns": [end],
            "level_tick": pl.Series([tick], dtype=pl.Int32),
            "distance_ticks": pl.Series([last - tick], dtype=pl.Int32),
            "sigma": line.sigma(setups)[w : w + 1],
            "message_rate": line.rate("messages")[w : w + 1],
            "trade_rate": line.rate("trades")[w : w + 1],
            "seconds_into_session": pl.Series([(end - _trading_start(lake, symbol, date)) // NS], dtype=pl.Int32),
            "touch_number": pl.Series([1 + touches_before(ladder, levels, level_id, trades, end, knobs)], dtype=pl.Int16),
            "confluent_levels": pl.Series(
                [sum(v != level_id and t != NO_TICK and abs(t - tick) <= setups.confluence_ticks for v, t in ticks.items())], dtype=pl.Int16
            ),
        }
    ).with_columns(pl.col("sigma").fill_nan(None))
    vector = trigger_vectors(ladder, frame, representation, features)
    dims = len(vector_names(representation, side))
    whole = frame.with_columns(
        pl.lit(representation).alias("representation"), pl.lit(dims, pl.Int32).alias("vector_dim"), vector.alias("vector")
    )
    groups = grouped(whole)
    return groups[MIRROR] if MIRROR in groups else groups[side]


def _trading_start(lake: Lake, symbol: str, date: dt.date) -> int:
    from engine.lake.catalog import TAPE
    from engine.sessions import session_windows

    return session_windows(date, lake.manifest(TAPE, symbol, date).lineage.profile or "rth").trading_start_ns


def _side(last: np.ndarray, tick: int, where: str) -> str:
    """The side of the level on which price stands; exactly at it, the one it came from."""
    from engine.ladder import NO_TICK

    away = np.flatnonzero((last != NO_TICK) & (last != tick))
    if not len(away):
        raise NoData(f"{where}: no trade away from the level tells from which side price comes; give --approach")
    return Approach.UP.value if last[away[-1]] < tick else Approach.DOWN.value


def _trades(lake: Lake, symbol: str, date: dt.date, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Trades of the session up to the moment."""
    import polars as pl

    from engine.bars import BRONZE_TRADE_COLUMNS, is_trade, trade_rows
    from engine.lake.catalog import BRONZE_MBO
    from engine.sessions import utc_dates
    from engine.vocab import root_of

    held = [d for d in utc_dates(start_ns, max(end_ns, start_ns + 1)) if lake.find_manifest(BRONZE_MBO, symbol, d) is not None]
    parts = (p for d in held for p in lake.read_parts(BRONZE_MBO, symbol, d, BRONZE_TRADE_COLUMNS, is_trade()))
    return trade_rows(parts, root_of(symbol)).filter(pl.col("ts_event") < end_ns)


def touches_before(
    ladder: Ladder, levels: pl.DataFrame, level_id: str, trades: pl.DataFrame, end_ns: int, knobs: TriggerKnobs | None = None
) -> int:
    """Touches of the level in the session by `end_ns`, as episodes count them."""
    import polars as pl

    from engine.params import ApproachParams, FeatureParams, SetupParams
    from engine.setups.triggers import session_triggers

    mine = levels.filter(pl.col("level_id") == level_id)
    k = knobs or TriggerKnobs(SetupParams(), ApproachParams(), FeatureParams())
    found = session_triggers(ladder, mine, trades, k.setups, kinds=("touch",), approach=k.approach, window_s=k.features.window_s)
    return int((found["touch_ts_ns"] < end_ns).sum())
