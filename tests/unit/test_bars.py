"""Two-minute bars on hand-made trades."""

from __future__ import annotations

import polars as pl
import pytest

from engine.bars import bars_2m
from engine.errors import ContractError

NS = 1_000_000_000
BAR = 120 * NS
T0 = 1_767_700_800 * NS  # a multiple of 120 s
TRADES = {"ts_event": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8}


def trades(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TRADES, orient="row")


def test_bars_by_hand() -> None:
    # Side codes: bid 0 (a buyer crossed), ask 1 (a seller), none 2.
    t = trades((T0, 10, 3, 0), (T0 + 5, 14, 2, 1), (T0 + BAR - 1, 9, 1, 2), (T0 + 2 * BAR, 11, 4, 1), (T0 + 3 * BAR, 50, 9, 0))
    found = bars_2m(t, T0, T0 + 3 * BAR)
    assert found.rows() == [
        (T0, T0 + BAR, 10, 14, 9, 9, 6, 3, 2, 3),
        (T0 + 2 * BAR, T0 + 3 * BAR, 11, 11, 11, 11, 4, 0, 4, 1),  # the bar between had no trade and has no row
    ]
    assert found.schema == pl.Schema(
        {
            "window_start_ts_ns": pl.Int64, "window_end_ts_ns": pl.Int64, "open_tick": pl.Int32, "high_tick": pl.Int32,
            "low_tick": pl.Int32, "close_tick": pl.Int32, "volume": pl.Int64, "buy_volume": pl.Int64, "sell_volume": pl.Int64,
            "trades": pl.Int32,
        }
    )  # fmt: skip


def test_time_never_runs_back() -> None:
    """A trade with an older stamp belongs to the bar that file order has reached, and is its close."""
    found = bars_2m(trades((T0 + BAR - 5, 10, 1, 0), (T0 + BAR + 5, 12, 1, 0), (T0 + BAR - 1, 11, 1, 0)), T0, T0 + 2 * BAR)
    assert found.select("close_tick", "trades").rows() == [(10, 1), (11, 2)]


def test_sizes_are_summed_beyond_32_bits() -> None:
    found = bars_2m(trades((T0, 1, 4_000_000_000, 0), (T0 + 1, 1, 4_000_000_000, 0)), T0, T0 + BAR)
    assert found["volume"].to_list() == [8_000_000_000]


def test_no_trades_no_bars() -> None:
    assert bars_2m(trades(), T0, T0 + BAR).height == 0
    assert bars_2m(trades((T0 - 1, 1, 1, 0)), T0, T0 + BAR).height == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ContractError, match="missing side"):
        bars_2m(trades().drop("side"), T0, T0 + BAR)
