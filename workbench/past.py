"""What a session had done up to a moment: volume at price, cumulative delta, tests of a level; and its whole day as one image."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.ladder import COLUMNS, NO_TICK
from engine.params import SetupParams
from engine.setups.steps import ticks_at
from engine.vocab import NS
from workbench import data
from workbench.data import Session
from workbench.kept import kept_with_session
from workbench.plots import volume
from workbench.plots.day import DayImage, day_image

ADD, FILL = ([COLUMNS.index(f"{side}_{name}") for side in ("bid", "ask")] for name in ("add", "fill"))


def _seconds(session: Session, end_ns: int) -> int:
    """Seconds of the session that have passed at `end_ns`."""
    lad = session.ladder
    return min(max((end_ns - lad.start_ns) // NS, 0), lad.seconds)


@kept_with_session(16)
def volume_at_price(session: Session, end_ns: int) -> pl.DataFrame:
    """Contracts bought and sold at each price before `end_ns` (`workbench.plots.volume.volume_at_price`)."""
    lad = session.ladder
    n = int(lad.offset[_seconds(session, end_ns)])
    bid, ask = (lad.values[:n, c] for c in FILL)
    return volume.volume_at_price(lad.tick[:n], bid, ask)


def delta_tape(session: Session, end_ns: int) -> pl.DataFrame:
    """The seconds before `end_ns`, as `workbench.plots.volume.delta_data` wants them."""
    return session.ladder.tape.select("window_start_ts_ns", "buy_volume", "sell_volume").head(_seconds(session, end_ns))


def tests_before(session: Session, level_id: str, end_ns: int) -> int | None:
    """How often the level was touched before `end_ns`, as the session's triggers count it; None where there are none of this level.

    A touch ends an approach: ``touch_number`` of features.md section 8 is one more than this.
    """
    if session.touches is None or level_id not in session.levels["level_id"]:
        return None
    return session.touches.filter((pl.col("level_id") == level_id) & (pl.col("touch_ts_ns") < end_ns)).height


@kept_with_session(64)
def confluent(session: Session, level_id: str, now_ns: int) -> list[str]:
    """Titles of the other levels within `SetupParams.confluence_ticks` of this one in the window that begins at `now_ns`."""
    k = data.tick_at(data.level_frame(session, level_id), now_ns)
    if k is None:
        return []
    at = {
        i: int(ticks_at(session.levels, i, np.array([now_ns]), session.ladder)[0])
        for i in data.ordered_level_ids(session)
        if i != level_id and i in set(session.levels["level_id"])
    }
    near = SetupParams().confluence_ticks
    return [data.level_title(i) for i, tick in at.items() if tick != NO_TICK and abs(tick - k) <= near]


@kept_with_session(1)
def day(session: Session) -> DayImage:
    """All orders and trades of the session."""
    lad = session.ladder
    low, high = price_span(session)
    added, traded = (lad.values[:, c].sum(axis=1) for c in (ADD, FILL))
    reach = max(high - low, 8) // 3
    return day_image(lad.second, lad.tick, added, traded, lad.seconds, low - reach, high + reach)


def price_span(session: Session) -> tuple[int, int]:
    """Lowest and highest tick at which the session traded; those of its levels where it did not."""
    last = session.ladder.last_tick[session.ladder.last_tick != NO_TICK]
    if last.size == 0:
        last = session.levels["level_tick"].to_numpy()
    if last.size == 0:
        return 0, 1
    return int(last.min()), int(last.max())
