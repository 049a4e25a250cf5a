"""Time and sales: single trades as lines, the newest first, with who took and which are large."""

from __future__ import annotations

import datetime as dt
from html import escape

import numpy as np
import polars as pl

from engine.sessions import NEW_YORK
from engine.vocab import NS, SIDE_CODES
from workbench.plots.axes import price_text

SHOWN = 120
"""So many lines are in the page."""

LARGE_SHARE = 0.995
"""A trade at or above this quantile of the sizes so far is large."""

LEAST_LARGE = 10
"""Contracts; nothing below is large, however thin the market."""

TAKERS = {SIDE_CODES["B"]: ("bought", "▲"), SIDE_CODES["A"]: ("sold", "▼")}
"""Code of the aggressor's side -> in words, and as a sign; none where the venue names none (the opening, an implied trade)."""


def until(trades: pl.DataFrame, now_ns: int, least: int) -> pl.DataFrame:
    """Trades before an instant with at least `least` contracts, in their order."""
    n = int(np.searchsorted(trades["time"].to_numpy(), now_ns, side="left"))
    return trades.head(n).filter(pl.col("size") >= least)


def large_size(trades: pl.DataFrame, now_ns: int) -> int:
    """Least contracts of a trade that is large by what had traded before an instant."""
    n = int(np.searchsorted(trades["time"].to_numpy(), now_ns, side="left"))
    return max(LEAST_LARGE, int(np.quantile(trades["size"].head(n).to_numpy(), LARGE_SHARE)) if n else 0)


def clock_ms(ts_ns: int) -> str:
    """New York time with milliseconds.

    Examples
    --------
    >>> clock_ms(1_762_268_400_123_456_789)
    '10:00:00.123'
    """
    at = dt.datetime.fromtimestamp(ts_ns // NS, NEW_YORK)
    return f"{at:%H:%M:%S}.{ts_ns % NS // 1_000_000:03d}"


def rows_html(shown: pl.DataFrame, large: int, tick_size: float) -> str:
    """Lines of `shown`, the newest first; colour and a sign tell who took, a bar which are large."""
    lines = []
    for time, tick, size, side in shown.select("time", "tick", "size", "side").tail(SHOWN).reverse().iter_rows():
        word, sign = TAKERS.get(side, ("", ""))
        names = " ".join(n for n in (word, "large" if size >= large else "") if n)
        cells = (clock_ms(time), price_text(tick, tick_size), f"{size:,}", sign)
        lines.append(f"<tr class='{names}'>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    head = "<tr><th>time</th><th>price</th><th>size</th><th><span class='sr'>taken by</span></th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"


def table(shown: pl.DataFrame, tick_size: float) -> pl.DataFrame:
    """`shown` to save or copy: New York time, instant, price, size, who took."""
    at = pl.from_epoch("time", time_unit="ns").dt.replace_time_zone("UTC").dt.convert_time_zone(NEW_YORK.key)
    words = {code: word for code, (word, _) in TAKERS.items()}
    return shown.select(
        at.dt.strftime("%H:%M:%S%.3f").alias("time"),
        pl.col("time").cast(pl.Int64).alias("ts_ns"),
        (pl.col("tick") * tick_size).round(9).alias("price"),
        pl.col("size").cast(pl.Int64),
        pl.col("side").replace_strict(words, default="", return_dtype=pl.String).alias("aggressor"),
    )
