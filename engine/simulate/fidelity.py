"""Stylised facts of an order stream, measured alike on simulated and real files, against the gates of simulator.md."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.mbo.dbn import COLUMN_TYPES, MboColumns, read_header, stream_columns
from engine.mbo.replay import LadderReplay
from engine.params import SimParams
from engine.sessions import rth_span
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.simulate.day import Day

_BINS = np.ceil(np.geomspace(10, 1001, 13)).astype(np.int64)
LAGS = np.array([np.exp(np.log(np.arange(a, b)).mean()) for a, b in itertools.pairwise(_BINS)])
"""Lags, in trades, at which the autocorrelation of trade signs is fitted: geometric means of twelve bins of equal width in the log.
It is averaged over each bin (and over sessions) before logarithms are taken: at single far lags it is smaller than its own error."""

SIZE_BINS = (0.0, 0.5, 0.8, 0.95, 1.0)
"""Quantiles of trade size between which price responses are compared."""

RESPONSE_S = 10
THIN_RATE = 71.0
"""Messages per second of a 10% rate; below it the OFI regression's lower bound is 0.3."""


@dataclass(frozen=True)
class Gate:
    """A fact with the range in which a market is believable; None is unbounded."""

    fact: str
    title: str
    low: float | None
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether `value` is in the range (a fact that could not be measured is not)."""
        return not math.isnan(value) and (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


GATES = (
    Gate("spread_share", "spread of one tick, share of time", 0.98, None),
    Gate("cancels_per_add", "cancels without executions' / adds", 0.93, 0.98),
    Gate("fill_share", "fills, share of messages", 0.01, 0.05),
    Gate("sigma_60s", "volatility at 60 s, ticks per sqrt(s)", 0.5, 1.5),
    Gate("kurtosis_10s", "raw kurtosis of 10 s returns", 5.0, None),
    Gate("abs_acf_10s", "autocorrelation of absolute 10 s returns, lag 1", 0.15, None),
    Gate("sign_exponent", "exponent of the trade signs' autocorrelation, lags 10-1,000", 0.4, 0.7),
    Gate("ofi_r2", "R² of 10 s moves on order-flow imbalance", 0.5, 0.8),
    Gate("variance_ratio", "variance ratio 60 s / 1 s", 0.8, 1.1),
    Gate("response", "move in 10 s after a trade with its sign, ticks", 0.0, None),
    Gate("response_growth", "move after the largest 5% of trades less that after the smallest half", 0.0, None),
    Gate("u_shape", "message rate, first and last half hour / 12:00-14:00", 1.3, None),
    Gate("crossed", "crossed or locked states", 0.0, 0.0),
)


@dataclass
class Facts:
    """What was measured of one contract over one span: the facts of `GATES` (NaN: not measurable) and more, `sign_acf` at `LAGS`."""

    symbol: str
    start_ns: int
    end_ns: int
    values: dict[str, float]
    sign_acf: NDArray[np.float64]
    half_hours: NDArray[np.float64]
    returns_10s: NDArray[np.float64] = field(repr=False)


def _lagged(x: NDArray[np.float64], lag: int) -> float:
    return float((x[:-lag] * x[lag:]).mean()) if len(x) > lag else math.nan


def _acf(x: NDArray[np.float64], lag: int) -> float:
    centred = x - x.mean()
    power = float((centred * centred).mean())
    return _lagged(centred, lag) / power if power > 0 else math.nan


def sign_acf(sign: NDArray[np.float64]) -> NDArray[np.float64]:
    """Autocorrelation of trade signs, not centred, averaged over the bins whose centres are `LAGS`; NaN for a series too short."""
    n, last = len(sign), int(_BINS[-1])
    if n <= 2 * last:
        return np.full(len(LAGS), math.nan)
    power = np.abs(np.fft.rfft(sign, 1 << (2 * n - 1).bit_length())) ** 2
    acf = np.fft.irfft(power)[:last] / (n - np.arange(last))
    return np.array([acf[a:b].mean() for a, b in itertools.pairwise(_BINS)])


def exponent(acf: NDArray[np.float64], lags: NDArray[np.float64] = LAGS) -> float:
    """Minus the slope of log autocorrelation on log lag, over the lags where it is positive; NaN under five of them."""
    good = acf > 0
    return -float(np.polyfit(np.log(lags[good]), np.log(acf[good]), 1)[0]) if good.sum() >= 5 else math.nan


def facts_of(columns: Iterable[MboColumns], instrument_id: int, symbol: str, start_ns: int, end_ns: int) -> Facts:
    """One contract's facts over ``[start_ns, end_ns)``, from a stream that begins with a snapshot or a cleared book.

    Signs are not centred before their autocorrelation: their mean is zero by symmetry, and the sample mean of a long-memory series takes
    so much of it away that the fitted exponent would be half as large again.
    """
    replay = LadderReplay({instrument_id: symbol}, start_ns, end_ns)
    counts = np.zeros(COUNT_WORDS, np.int64)
    ids = np.zeros(4096, np.uint64)
    trades: list[NDArray[np.int64]] = []
    for chunk in columns:
        replay.feed(chunk)
        mine = chunk.instrument_id == instrument_id
        if not mine.any():
            continue
        picked = [getattr(chunk, n)[mine] for n in ("ts_event", "order_id", "size", "flags", "action", "side")]
        scratch = [np.zeros(len(picked[0]), np.int64) for _ in range(3)]
        n = count(*picked, start_ns, end_ns, counts, ids, *scratch)  # type: ignore[call-arg]
        trades.append(np.stack([s[:n] for s in scratch]))
    done = replay.finish()[symbol]
    listed = np.concatenate(trades, axis=1) if trades else np.zeros((3, 0), np.int64)
    return _measure(symbol, start_ns, end_ns, done.tape, listed, counts, float(done.stats["crossed_after_open"]))


def _measure(
    symbol: str, start_ns: int, end_ns: int, tape: pl.DataFrame, trades: NDArray[np.int64], counts: NDArray[np.int64], crossed: float
) -> Facts:
    quoted = tape.with_columns(pl.col("best_bid_tick", "best_ask_tick").forward_fill()).drop_nulls(["best_bid_tick", "best_ask_tick"])
    if quoted.height < 600:
        raise SessionError(
            f"{symbol}: expected at least 10 minutes with both sides quoted, found {quoted.height} seconds; choose another span"
        )
    bid, ask = (quoted[n].to_numpy().astype(np.float64) for n in ("best_bid_tick", "best_ask_tick"))
    first = int(quoted["window_start_ts_ns"][0])
    mid = 0.5 * (bid + ask)
    r1, r60 = mid[1:] - mid[:-1], mid[60:] - mid[:-60]
    r10 = np.diff(mid[: (len(mid) - 1) // 10 * 10 + 1 : 10])
    ofi = quoted["ofi"].to_numpy().astype(np.float64)[1 : 10 * len(r10) + 1].reshape(-1, 10).sum(axis=1)
    seconds = (end_ns - start_ns) / NS
    messages = quoted["messages"].to_numpy()
    half = np.array([messages[i : i + 1800].mean() for i in range(0, len(messages) - 1799, 1800)])
    sign = trades[1].astype(np.float64)
    second = (trades[0] - first) // NS
    inside = (second >= 1) & (second < len(mid) - RESPONSE_S)
    move = (mid[second[inside] + RESPONSE_S] - mid[second[inside] - 1]) * sign[inside]
    size = trades[2][inside]
    moved = [math.nan] * (len(SIZE_BINS) - 1)
    if len(size) > 100:
        cuts = np.quantile(size, SIZE_BINS)
        for k in range(len(moved)):
            chosen = (size > cuts[k] if k else size >= cuts[0]) & (size <= cuts[k + 1])
            moved[k] = float(move[chosen].mean()) if chosen.any() else math.nan
    full_day = seconds >= 6.4 * 3600 and len(half) >= 13
    acf = sign_acf(sign)
    values = {
        "messages_per_s": float(counts[MESSAGES]) / seconds,
        "trades_per_s": len(sign) / seconds,
        "spread_share": float((ask - bid == 1).mean()),
        "cancels_per_add": float(counts[CANCELS]) / max(1, int(counts[ADDS])),
        "fill_share": float(counts[FILLS]) / max(1, int(counts[MESSAGES])),
        "modify_share": float(counts[MODIFIES]) / max(1, int(counts[MESSAGES])),
        "sigma_60s": float(r60.std()) / math.sqrt(60.0),
        "kurtosis_10s": float(((r10 - r10.mean()) ** 4).mean() / max(r10.var(), 1e-12) ** 2),
        "abs_acf_10s": _acf(np.abs(r10), 1),
        "sign_exponent": exponent(acf),
        "sign_acf_1": _lagged(sign, 1),
        "ofi_r2": float(np.corrcoef(ofi, r10)[0, 1] ** 2) if ofi.std() > 0 and r10.std() > 0 else math.nan,
        "variance_ratio": float(r60.var() / 60.0 / max(r1.var(), 1e-12)),
        "response": float(move.mean()) if len(move) else math.nan,
        "response_growth": moved[-1] - moved[0],
        **{f"response_{k + 1}": v for k, v in enumerate(moved)},
        "u_shape": float((half[0] + half[12]) / 2 / max(half[5:9].mean(), 1e-9)) if full_day else math.nan,
        "crossed": crossed,
    }
    return Facts(symbol, start_ns, end_ns, values, acf, half, r10)


def pool(facts: list[Facts]) -> dict[str, float]:
    """Facts averaged over sessions; the sign exponent is fitted to the averaged autocorrelation, crossed states are summed."""
    out = {k: float(np.mean([f.values[k] for f in facts])) for k in facts[0].values}
    out["sign_exponent"] = exponent(np.mean([f.sign_acf for f in facts], axis=0))
    out["crossed"] = float(sum(f.values["crossed"] for f in facts))
    return out


def gate_table(pooled: dict[str, float]) -> pl.DataFrame:
    """Each gate, the pooled value and whether it holds: columns fact, title, value, low, high, holds."""
    rows = []
    for gate in GATES:
        if gate.fact == "ofi_r2" and pooled["messages_per_s"] < THIN_RATE:
            gate = replace(gate, low=0.3)
        value = pooled[gate.fact]
        is_nothing = gate.fact in ("response", "response_growth") and value == 0
        rows.append((gate.fact, gate.title, value, gate.low, gate.high, gate.holds(value) and not is_nothing))
    schema = {"fact": pl.String, "title": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "holds": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def file_facts(path: Path, *, start_ns: int | None = None, end_ns: int | None = None, symbol: str | None = None) -> Facts:
    """Facts of a DBN file: by default of its busiest outright, in the cash session that its date has, else from its first trade on.

    Raises
    ------
    BadDbn, RawMissing
        As `engine.mbo.dbn.read_header`.
    SessionError
        Where the file has no such contract, or too little of a market to measure.
    """
    header = read_header(path)
    outrights = header.outrights()
    trades: Counter[int] = Counter()
    first: dict[int, int] = {}
    for chunk in stream_columns(path):
        traded = chunk.action == _TRADE
        numbers, at, counts = np.unique(chunk.instrument_id[traded], return_index=True, return_counts=True)
        trades.update(dict(zip(numbers.tolist(), counts.tolist())))
        first = dict(zip(numbers.tolist(), chunk.ts_event[traded][at].tolist())) | first
    if not trades:
        raise SessionError(f"{path}: expected trades to measure, found none")
    if symbol is None:
        symbol = outrights[max(trades, key=lambda k: trades[k])]
    found = [k for k, v in outrights.items() if v == symbol]
    if not found:
        raise SessionError(
            f"{path}: expected contract {symbol}, found {', '.join(sorted(outrights.values())) or 'no outright'}; give another --symbol"
        )
    if found[0] not in trades:
        raise SessionError(f"{path}: expected trades of {symbol}, found none; give another --symbol")
    if start_ns is None or end_ns is None:
        span = rth_span(header.date)
        # Before the first trade a book may be open and crossed for hours: that is no market yet.
        start_ns, end_ns = (first[found[0]] // NS + 1) * NS, header.end_ns
        if span is not None and start_ns <= span[0] and span[1] <= end_ns:
            start_ns, end_ns = span
    return facts_of(stream_columns(path), found[0], symbol, start_ns, end_ns)


def columns_of(words: NDArray[np.int64], instrument_id: int) -> MboColumns:
    """Columns of one instrument from records as `engine.simulate.day.Day.chunks` yields them."""
    from engine.mbo import dbn

    out = MboColumns.empty(len(words))
    known = np.unique((words[:, 0] >> 32).astype(np.uint32))
    n, _bad = dbn.split(words.view(np.uint64), known, known == instrument_id, False, *(getattr(out, name) for name in COLUMN_TYPES))
    return out.rows(0, n)


def main_columns(day: Day, until_ns: int) -> Iterator[MboColumns]:
    """Columns of the day's main contract, to the end of the chunk in which `until_ns` has passed."""
    for words in day.chunks():
        yield columns_of(words, day.main_id)
        if words[-1, 1] > until_ns:
            return


def fresh_sessions(seeds: int, first_seed: int) -> tuple[list[dt.date], list[int]]:
    """Dates (three in turn) and seeds of as many sessions, for `simulated_facts`."""
    first = dt.date(2025, 9, 2)
    return [first + dt.timedelta(days=k % 3) for k in range(seeds)], [first_seed + k for k in range(seeds)]


def simulated_facts(date: dt.date, seed: int, rate: float, kappa: float = 0.0) -> Facts:
    """Facts of a simulated day's cash session, without a file between; the rest of the day is thin, or left out."""
    from engine.simulate.day import Day

    span = rth_span(date)
    if span is None:
        raise SessionError(f"{date}: expected a day with a cash session; choose another date")
    day = Day(date, SimParams(seed=seed, rate=rate, kappa=kappa, thin_after=dt.time(16)))
    return facts_of(main_columns(day, span[1]), day.main_id, day.main_symbol, *span)


# ----------------------------------------------------------------------------
# What a fidelity report draws, as plain frames


def curves(facts: list[Facts], pooled: dict[str, float]) -> dict[str, pl.DataFrame]:
    """Frames that a report draws.

    ``sign_acf`` (lag, measured, fitted), ``returns`` (sd, density, normal: 10 s returns in their session's own standard deviations),
    ``intraday`` (half_hour, messages_per_s), ``response`` (size, ticks), and ``sessions`` (fact, title, session, value, pooled, low,
    high): every fact of every session beside its gate.
    """
    acf = np.mean([f.sign_acf for f in facts], axis=0)
    good = acf > 0
    centre = np.log(acf[good]).mean() + pooled["sign_exponent"] * np.log(LAGS[good]).mean() if good.any() else math.nan
    edges = np.linspace(-8, 8, 65)
    returns = np.concatenate([f.returns_10s / max(f.returns_10s.std(), 1e-12) for f in facts])
    density, _ = np.histogram(returns, edges, density=True)
    middle = 0.5 * (edges[1:] + edges[:-1])
    width = min(len(f.half_hours) for f in facts)
    half = np.mean([f.half_hours[:width] for f in facts], axis=0)
    sizes = ["smallest half", "to 80%", "to 95%", "largest 5%"]
    gates = gate_table(pooled).rename({"value": "pooled"}).drop("holds")
    values = [{"fact": g.fact, "session": k + 1, "value": float(f.values[g.fact])} for g in GATES for k, f in enumerate(facts)]
    return {
        "sign_acf": pl.DataFrame({"lag": LAGS, "measured": acf, "fitted": np.exp(centre - pooled["sign_exponent"] * np.log(LAGS))}),
        "returns": pl.DataFrame({"sd": middle, "density": density, "normal": np.exp(-(middle**2) / 2) / math.sqrt(2 * math.pi)}),
        "intraday": pl.DataFrame({"half_hour": np.arange(1, width + 1), "messages_per_s": half}),
        "response": pl.DataFrame({"size": sizes, "ticks": [pooled[f"response_{k}"] for k in range(1, 5)]}),
        "sessions": pl.DataFrame(values).join(gates, on="fact", how="left", maintain_order="left"),
    }


# ----------------------------------------------------------------------------
# One pass over an order stream for what the ladder does not hold: orders by kind, and trades one by one

ADDS, CANCELS, CARRIED, FILLS, MODIFIES, MESSAGES, N_TRADES, N_IDS, IN_TRADE = range(9)
COUNT_WORDS = 12

_ADD, _CANCEL, _MODIFY, _TRADE, _FILL = 0, 1, 2, 4, 5
_LAST, _SNAPSHOT = 0x80, 0x20


@njit(cache=True, nogil=True)
def count(ts_event, order_id, size, flags, action, side, start_ns, end_ns, counts, ids, trade_ns, trade_sign, trade_size):
    """Number of aggressive orders listed in the three arrays (as long as the chunk) of one instrument's records, which `counts` counts.

    Only records in ``[start_ns, end_ns)`` count. The prices that one aggressor takes are one trade (same event, same order id). A cancel
    carries out an execution where its order was filled in the same event (mbo.md, rules 6-9). `counts` and `ids` carry an event over to
    the next chunk.
    """
    n = 0
    last_order = np.uint64(0)
    for k in range(ts_event.shape[0]):
        if flags[k] & _SNAPSHOT or ts_event[k] < start_ns or ts_event[k] >= end_ns:
            continue
        counts[MESSAGES] += 1
        act = action[k]
        if act == _ADD:
            counts[ADDS] += 1
        elif act == _CANCEL:
            carried = False
            for j in range(counts[N_IDS]):
                if ids[j] == order_id[k]:
                    carried = True
                    break
            counts[CARRIED if carried else CANCELS] += 1
        elif act == _MODIFY:
            counts[MODIFIES] += 1
        elif act == _FILL:
            counts[FILLS] += 1
            if counts[N_IDS] < ids.shape[0]:
                ids[counts[N_IDS]] = order_id[k]
                counts[N_IDS] += 1
        elif act == _TRADE:
            counts[N_TRADES] += 1
            if side[k] < 2:
                if n > 0 and counts[IN_TRADE] == 1 and last_order == order_id[k] and trade_ns[n - 1] == ts_event[k]:
                    trade_size[n - 1] += size[k]
                else:
                    trade_ns[n] = ts_event[k]
                    trade_sign[n] = 1 if side[k] == 0 else -1
                    trade_size[n] = size[k]
                    n += 1
                last_order = order_id[k]
                counts[IN_TRADE] = 1
        if flags[k] & _LAST:
            counts[N_IDS] = 0
            counts[IN_TRADE] = 0
    return n
