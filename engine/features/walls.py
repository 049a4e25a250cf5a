"""Walls near a level as known at a moment: how large, how old, growing or refilled, and how those that are gone ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.ladder import known_cells
from engine.params import WallParams
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.ladder import Ladder

Fate = Literal["", "eaten", "pulled", "moved"]
Trend = Literal["growing", "shrinking", "steady"]


@dataclass(frozen=True)
class Wall:
    """Resting size at a price that stands, or stood, out of its side's prices.

    side, tick: ``ask`` or ``bid``, and the price
    size: contracts now; of one that has ended, what was left
    times: how many times the median of its side's non-empty prices within reach that is; of one that has ended, that was
    age_s: seconds since it became a wall; of one that has ended, until its end began
    whole_memory: whether it was a wall already when it was first looked at, so that it may be older
    trend, refills: against its size a while ago; how often trades took a part of it that came back
    fate: empty while it stands; ``eaten`` where trades took at least half of what went, else ``moved`` where at least half of the rest was
        repriced after it had rested, else ``pulled``
    was, took_s, traded: of one that has ended, its size before the end began, the seconds until the least size, the contracts traded then
    ended_s: seconds since its end; 0 while it stands
    """

    side: Literal["ask", "bid"]
    tick: int
    size: int
    times: float
    age_s: int
    whole_memory: bool = False
    trend: Trend = "steady"
    refills: int = 0
    fate: Fate = ""
    was: int = 0
    took_s: int = 0
    traded: int = 0
    ended_s: int = 0


def walls(ladder: Ladder, k_ref: int, end_ns: int, params: WallParams | None = None) -> list[Wall]:
    """Walls within ``reach_ticks`` of tick `k_ref` that stand at `end_ns`, or ended in the last ``told_s`` seconds; by price, then side.

    A price becomes a wall in a second in which it holds ``times`` the median of its side's non-empty prices within reach, and no price up
    to two ticks away holds more. It ends when less than ``gone_share`` of its largest size is left; where the book is not known it is
    forgotten. One below ``kept_times`` is left out, and so is one that ended before it was ``named_s`` old. Seconds that ended by `end_ns`
    count, ``memory_s`` of them, and nothing else: the answer does not depend on earlier calls.
    """
    p = params or WallParams()
    end = min(end_ns // NS * NS, ladder.end_ns)
    begin = max(end - p.memory_s * NS, ladder.start_ns)
    if end <= begin:
        return []
    cube = ladder.cube(begin, end, k_ref - p.reach_ticks, k_ref + p.reach_ticks)
    known, ticks = known_cells(cube), cube["tick"].to_numpy().tolist()
    found = []
    sides: tuple[Literal["bid", "ask"], ...] = ("bid", "ask")
    for side in sides:
        # Size, filled, repriced after a rest; (seconds, prices) each.
        size, fill = cube[f"{side}_depth"].to_numpy() * known, cube[f"{side}_fill"].to_numpy()
        moved = cube[f"{side}_away_rest"].to_numpy() + cube[f"{side}_toward_rest"].to_numpy()
        typical = typical_size(size)
        start = _begins(size, typical, p.times)
        for i in np.flatnonzero(start.any(axis=0)).tolist():
            lives = lives_of(*(a[:, i].tolist() for a in (size, fill, moved, known, start)), p=p)
            found += [_told(life, side, ticks[i], typical, p) for life in lives]
    named = [w for w in found if w is not None]
    return sorted(named, key=lambda w: (w.tick, w.side))


def in_the_way(found: Iterable[Wall], last_tick: int, *, up: bool, params: WallParams | None = None) -> list[Wall]:
    """What price would have to go through, at most ``most`` walls: asks from the last trade up, or bids from it down. Those that stand and
    are ``named_s`` old come first, the largest of them first, then a younger one that is larger than all of them, then those that ended,
    the latest first.
    """
    p = params or WallParams()
    ahead = [w for w in found if (w.side == "ask" and w.tick >= last_tick if up else w.side == "bid" and w.tick <= last_tick)]
    heaviest = sorted((w for w in ahead if not w.fate), key=lambda w: (-w.size, abs(w.tick - last_tick)))
    stand = [w for w in heaviest if w.age_s >= p.named_s]
    young = [w for w in heaviest[:1] if w.age_s < p.named_s and all(w.size > old.size for old in stand)]
    gone = sorted((w for w in ahead if w.fate), key=lambda w: (w.ended_s, -w.was))
    # What has just come or gone is news: it is not crowded out by walls that stand.
    return [*stand[: max(p.most - bool(gone) - len(young), 0)], *young, *gone][: p.most]


@dataclass
class Life:
    """A price as a wall, by seconds of the slice; `end` is the second of its end, `least` that of the least size after it."""

    size: list[int]
    fill: list[int]
    moved: list[int]
    begin: int
    full: int
    peak: int
    lost: int = 0
    refills: int = 0
    end: int | None = None
    least: int = 0

    def ending(self) -> tuple[Fate, int, int, int]:
        """How one that has ended did, by `Wall`'s rule; its size before, what was left, and the contracts traded meanwhile."""
        was, left, during = self.size[self.full], self.size[self.least], slice(self.full + 1, self.least + 1)
        traded, moved, gone = sum(self.fill[during]), sum(self.moved[during]), was - left
        return "eaten" if 2 * traded >= gone else "moved" if 2 * moved >= gone - traded else "pulled", was, left, traded


def typical_size(size: np.ndarray) -> np.ndarray:
    """Median of each second's sizes above zero, NaN where there is none."""
    # Empty prices sort behind all others; as a loop over seconds this is most of the work.
    rising = np.sort(np.where(size > 0, size, np.inf), axis=1)
    count, second = (size > 0).sum(axis=1), np.arange(len(size))
    middle = (rising[second, np.maximum(count - 1, 0) // 2] + rising[second, np.minimum(count // 2, size.shape[1] - 1)]) / 2
    return np.where(count > 0, middle, np.nan)


def _begins(size: np.ndarray, typical: np.ndarray, times: float) -> np.ndarray:
    """Where a price is large enough to become a wall, and the largest of the five prices around it."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(size, ((0, 0), (2, 2))), 5, axis=1).max(axis=2)
    return np.asarray((size > 0) & (size >= times * typical[:, None]) & (size == around))


def lives_of(size: list[int], fill: list[int], moved: list[int], known: list[bool], start: list[bool], *, p: WallParams) -> list[Life]:
    """Every time that one price was a wall, the last of them perhaps without an end yet."""
    out: list[Life] = []
    now: Life | None = None
    for s, held in enumerate(size):
        if not known[s]:
            if now is not None:
                out.remove(now)
            now = None
        elif now is None:
            if start[s]:
                now = Life(size, fill, moved, s, s, held)
                out.append(now)
        else:
            now.lost += fill[s]
            now.peak = max(now.peak, held)
            if held >= p.whole_share * now.peak:
                now.full = s
                if now.lost >= p.refill_share * now.peak:
                    now.refills, now.lost = now.refills + 1, 0
            if held < p.gone_share * now.peak:
                # Of a second in which the book is not known nobody knows what was left.
                seen = range(s, min(s + p.settle_s + 1, len(size)))
                now.end, now.least = s, min(takewhile(known.__getitem__, seen), key=size.__getitem__)
                now = None
    return out


def _told(life: Life, side: Literal["ask", "bid"], tick: int, typical: np.ndarray, p: WallParams) -> Wall | None:
    """The wall as it is told at the end of the slice; None where it is not."""
    last = len(life.size) - 1
    older = life.begin == 0 and last + 1 >= p.memory_s
    if life.end is None:
        held = life.size[last]
        times = float(held / typical[last])
        if times < p.kept_times:
            return None
        before = life.size[max(last - p.change_s, life.begin)]
        change = held - before
        trend: Trend = "steady" if abs(change) < max(p.change_share * before, 1) else "growing" if change > 0 else "shrinking"
        return Wall(side, tick, held, times, last - life.begin + 1, older, trend, life.refills)
    if last - life.end >= p.told_s or life.full - life.begin + 1 < p.named_s:
        return None
    fate, was, left, traded = life.ending()
    times = float(was / typical[life.full])
    if times < p.kept_times:
        return None
    return Wall(
        side, tick, left, times, life.full - life.begin + 1, older, "shrinking", life.refills, fate,
        was, life.least - life.full, traded, last - life.end,
    )  # fmt: skip
