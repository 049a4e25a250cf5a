"""Trades that are kept as they come answer as all of them would, wherever they are asked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.bars import bars_2m, trades_between
from engine.live.trades import GrowingTrades, Trades
from engine.vocab import NS
from tests.support.dbn_files import utc_ns
from tests.support.lakes import TUESDAY

STARTS = utc_ns(TUESDAY, 14)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_made_of_earlier_trades_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3000
    # Some come late, by minutes, and some minutes have none.
    times = STARTS + np.cumsum(rng.choice([0, NS // 3, NS, 300 * NS], n, p=[0.4, 0.3, 0.297, 0.003]))
    times -= rng.choice([0, 5 * NS, 400 * NS], n, p=[0.98, 0.01, 0.01])
    ticks, sizes, sides = rng.integers(27_000, 27_100, n), rng.integers(1, 9, n), rng.integers(0, 3, n)
    whole = Trades(times, ticks.astype(np.int32), sizes.astype(np.uint32), sides.astype(np.uint8))

    def part(a: int, b: int) -> Trades:
        return Trades(whole.ts_event[a:b], whole.tick[a:b], whole.size[a:b], whole.side[a:b])

    first = 500  # those before are told later
    kept, at, told = GrowingTrades(), first, False
    assert kept.last_tick() is None
    now = STARTS
    while at < n:
        end = min(at + int(rng.choice([0, 1, 3, 60])), n)
        kept.add(part(at, end))
        at = end
        if at > 1500 and not told:
            kept.put_before(Trades.frame([part(0, first)]))
            told = True
        if rng.random() < 0.6:
            continue
        trades = Trades.frame([part(0 if told else first, at)])
        assert kept.all().equals(trades)
        latest = int(trades["ts_event"].max() or STARTS)
        now = max(now, latest // NS * NS)
        assert kept.until(now).equals(trades.filter(pl.col("ts_event").cum_max() < now))
        a, b = sorted(rng.integers(STARTS - 10 * NS, latest + 10 * NS, 2).tolist())
        assert kept.between(a, b).equals(trades_between(trades, a, b))
        assert kept.between(b, a).height == 0
        for _ in range(2):
            assert kept.bars(STARTS, now).equals(bars_2m(trades, STARTS, now))
        assert kept.last_tick() == int(ticks[at - 1])
    assert told
    assert kept.all().n_chunks() <= 64
