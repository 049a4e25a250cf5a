"""Which side's flow outpaces the other's at the prices near a level: long or short, or neither, as known at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.features.pressure import long as long_flow
from engine.features.pressure import short as short_flow
from engine.ladder import NO_TICK, known_cells
from engine.params import FlowLeadParams
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.ladder import Ladder

WINDOW_S = 5
"""Names change with the windows that features are of, not with every second: between two of them a lead comes and goes unseen."""

FLOWS = ("bid_add", "ask_add", "bid_pull", "ask_pull", "bid_fill", "ask_fill")


@dataclass(frozen=True)
class FlowLead:
    """What flow says at the end of a window.

    side: ``long`` or ``short``, the one that outpaces the other; empty where neither does
    rows: ticks of the price rows at which that side leads, rising; of a row of several ticks the lowest
    long, short: contracts within the near bound of the level over the flow's seconds
    end_ns: end of the last window that counts
    known: whether the book was known there all through those seconds; where not, no side is named and both sums are 0
    """

    side: str
    rows: tuple[int, ...]
    long: int
    short: int
    end_ns: int
    known: bool = True

    @property
    def lead(self) -> float:
        """By what share of the lesser flow the greater one is ahead."""
        return abs(self.long - self.short) / max(min(self.long, self.short), 1)


def flow_lead(ladder: Ladder, k_ref: int, end_ns: int, *, near: int, step_ticks: int = 1, params: FlowLeadParams | None = None) -> FlowLead:
    """The side that outpaces the other within `near` ticks of the level at tick `k_ref`, by the windows that ended by `end_ns`.

    A price row is led by a side from the window on in which it is ahead by ``params.share`` of the other's flow and by ``usual_times`` the
    median lead of rows as far from the last trade over the last ``usual_s``, until it is not ahead any more. A side is named from the
    window on in which it is ahead by ``params.share`` in the sum of all rows near the level, until it is not ahead any more, and only while
    it leads a row. Flow is that of ``flow_s``, long and short those of `engine.features.pressure` (features.md section 7).

    What is named depends on windows before `end_ns` alone, and on no earlier call: names are followed from ``memory_s`` before it on.
    """
    p = params or FlowLeadParams()
    w = WINDOW_S * NS
    first = -(-ladder.start_ns // w) * w
    end = min(end_ns, ladder.end_ns) // w * w
    flow, past = p.flow_s // WINDOW_S, (max(p.usual_s, p.memory_s) + p.flow_s) // WINDOW_S
    begin = max(end - past * w, first)
    nothing = FlowLead("", (), 0, 0, end, known=False)
    if end - begin < w:
        return nothing
    rows = np.arange((k_ref - near) // step_ticks, (k_ref + near) // step_ticks + 1)
    # The last trade at the end of each window, in price rows.
    ends = np.arange(begin + w, end + w, w)
    tick = ladder.last_tick[(ends - ladder.start_ns) // NS - 1].astype(np.int64)
    last = tick // step_ticks
    if tick[-1] == NO_TICK:
        return nothing
    traded = tick != NO_TICK
    moved = last[traded] - last[-1]
    low, high = int(rows[0] + moved.min()), int(rows[-1] + moved.max())
    cube = ladder.cube(begin, end, low * step_ticks, (high + 1) * step_ticks - 1, window_s=WINDOW_S, step_ticks=step_ticks)
    known = known_cells(cube)
    values = {name: cube[name].to_numpy() for name in FLOWS}
    long, short = (_flow(np.where(known, f(values), 0), flow) for f in (long_flow, short_flow))
    # Flow is known where the book was in all of its windows.
    all_known = _flow(~known, flow) == 0
    here = rows - low
    usual = _usual(long - short, all_known, last, traded, here, p)
    return _named(long[:, here], short[:, here], all_known[:, here].all(axis=1), usual, rows * step_ticks, end, p)


def _flow(values: np.ndarray, windows: int) -> np.ndarray:
    """Sums over the last `windows` rows up to each, int64; fewer at the beginning."""
    total = np.cumsum(values, axis=0, dtype=np.int64)
    total[windows:] -= total[:-windows].copy()
    return total


def _usual(net: np.ndarray, known: np.ndarray, last: np.ndarray, traded: np.ndarray, here: np.ndarray, p: FlowLeadParams) -> np.ndarray:
    """Median size of the lead of each row `here` over the moments of ``usual_s``, of the rows that were as far from the last trade at that
    moment as these are now; without end where ``usual_least_s`` has no such moment.
    """
    moments = np.arange(max(len(net) - p.usual_s // WINDOW_S, p.flow_s // WINDOW_S - 1), len(net))
    moments = moments[traded[moments]]
    at = here[None, :] + (last[moments] - last[-1])[:, None]
    there = known[moments[:, None], at].all(axis=1)
    if there.sum() * WINDOW_S < p.usual_least_s:
        return np.full(here.size, np.inf)
    return np.asarray(np.median(np.abs(net[moments[there, None], at[there]]), axis=0))


def _named(
    long: np.ndarray, short: np.ndarray, known: np.ndarray, usual: np.ndarray, ticks: np.ndarray, end: int, p: FlowLeadParams
) -> FlowLead:
    """The names at the last window, from flows ``(windows, rows)``; the first windows, of less flow than the others, name nothing."""
    row, side = np.zeros(ticks.size, np.int64), np.zeros(1, np.int64)
    first = max(len(long) - p.memory_s // WINDOW_S, p.flow_s // WINDOW_S - 1)
    for w in range(first, len(long)):
        if known[w]:
            row = _step(row, long[w], short[w], usual, p)
            side = _step(side, long[w].sum(keepdims=True), short[w].sum(keepdims=True), np.zeros(1), p)
            side = np.where((row == side).any(), side, 0)
        else:
            row[:], side[:] = 0, 0
    if not known[-1]:
        return FlowLead("", (), 0, 0, end, known=False)
    name = {1: "long", -1: "short", 0: ""}[int(side[0])]
    led = tuple(ticks[row == side].tolist()) if name else ()
    return FlowLead(name, led, int(long[-1].sum()), int(short[-1].sum()), end)


def _step(named: np.ndarray, long: np.ndarray, short: np.ndarray, usual: np.ndarray, p: FlowLeadParams) -> np.ndarray:
    """Names (1 long, -1 short, 0 neither) one window later: a lead that is large enough is named, a named one stays until it is lost."""
    net = long - short
    ahead = np.sign(net)
    large = (np.abs(net) >= p.share * np.minimum(long, short)) & (np.abs(net) >= p.usual_times * usual) & (net != 0)
    return np.where(large | (named == ahead), ahead, 0)
