"""How steadily the sentence names a side before touches: ``python -m tests.bench.flicker LAKE``.

Of the last minute before every touch of the key levels, in steps of 5 s: in which share of the moments a side is named, in which share of
the steps the named side changes (to neither and back counts), and how often the lighter side was named. Of sessions with options, the same
of what is said of them: which way hedgers trade, which way trades push, what most of that is, at which strikes.
LAKE is one of `spymaster demo`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from engine.errors import EngineError
from engine.features.flow_lead import WINDOW_S, FlowLead, flow_lead
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.options.lead import OptionLead, option_lead
from engine.options.reading import SessionOptions
from engine.params import FlowLeadParams, ZoneParams
from engine.session import Session, cached_with_session, tick_at
from engine.vocab import NS

LEVELS = ("pm_high", "pm_low", "or_high", "or_low", "vwap")
BEFORE_S = 60


@dataclass(frozen=True)
class Flicker:
    """Counts over all touches."""

    touches: int
    moments: int
    named: int
    steps: int
    changes: int
    turns: int
    lighter: int

    def __str__(self) -> str:
        shares = f"a side named in {self.named / self.moments:.1%} of {self.moments:,} moments before {self.touches} touches"
        return (
            f"{shares}; it changes in {self.changes / self.steps:.1%} of the {WINDOW_S} s steps "
            f"({self.turns / self.steps:.2%} from one side to the other); the lighter side named {self.lighter} times"
        )


def flicker(lake: Lake, params: FlowLeadParams | None = None, *, every: int = 1) -> Flicker:
    """What is named before the touches of every `every`-th session."""
    touches = moments = named = steps = changes = turns = lighter = 0
    for said in _before_touches(lake, params, every):
        touches += 1
        moments += len(said)
        named += sum(bool(f.side) for f in said)
        lighter += sum(f.side == ("short" if f.long >= f.short else "long") for f in said)
        steps += len(said) - 1
        changes += sum(a.side != b.side for a, b in pairwise(said))
        turns += sum({a.side, b.side} == {"long", "short"} for a, b in pairwise(said))
    return Flicker(touches, moments, named, steps, changes, turns, lighter)


def _before_touches(lake: Lake, params: FlowLeadParams | None, every: int) -> Iterator[list[FlowLead]]:
    near = ZoneParams().near
    for session, ends in _moments(lake, every):
        said = [flow_lead(session.ladder, k, e, near=near, params=params) for e, k in ends if k is not None and e > session.day_ns]
        if len(said) > 1:
            yield said


def _moments(lake: Lake, every: int) -> Iterator[tuple[Session, list[tuple[int, int | None]]]]:
    """Of each touch its session, and the ends of the windows before it with the level's tick there."""
    w = WINDOW_S * NS
    for symbol, date in sorted(lake.partitions(LADDER), key=lambda p: p[1])[::every]:
        session = Session.open(lake, symbol, date)
        for level_id in LEVELS:
            try:
                level, met = session.level(level_id), session.touches(level_id)
            except EngineError:
                continue  # a level that the day does not have
            for touch in met.tolist():
                end = touch // w * w
                yield session, [(e, tick_at(level, e)) for e in range(end - BEFORE_S * NS, end + 1, w)]


@dataclass(frozen=True)
class OptionFlicker:
    """Counts over all touches of sessions with options: in how many steps each thing that is said changes."""

    touches: int
    steps: int
    side: int
    flow: int
    mostly: int
    strikes: int
    named: int

    def __str__(self) -> str:
        if not self.steps:
            return "no session has options"
        shares = ", ".join(f"{what} in {n / self.steps:.1%}" for what, n in (
            ("hedgers' side", self.side), ("the way trades push", self.flow), ("what most of that is", self.mostly),
            ("its strikes", self.strikes),
        ))  # fmt: skip
        named = f"a way named in {self.named / self.steps:.1%}"
        return f"options: {shares} of the {WINDOW_S} s steps before {self.touches} touches; {named}"


def option_flicker(lake: Lake, *, every: int = 1) -> OptionFlicker:
    """What is said of options before the same touches."""
    touches = steps = side = flow = mostly = strikes = named = 0
    for said in _options_before_touches(lake, every):
        touches += 1
        steps += len(said) - 1
        named += sum(bool(b.flow) for b in said[1:])
        side += sum(a.side != b.side for a, b in pairwise(said))
        flow += sum(a.flow != b.flow for a, b in pairwise(said))
        mostly += sum(a.flow == b.flow and a.mostly != b.mostly for a, b in pairwise(said))
        strikes += sum(a.flow == b.flow and a.strikes != b.strikes for a, b in pairwise(said))
    return OptionFlicker(touches, steps, side, flow, mostly, strikes, named)


def _options_before_touches(lake: Lake, every: int) -> Iterator[list[OptionLead]]:
    for session, ends in _moments(lake, every):
        options = _options(session)
        if options is None:
            continue
        at = ((e, k * session.tick_size) for e, k in ends if k is not None and e > session.day_ns)
        said = [option_lead(options, e, price, scope="all", rule="hybrid") for e, price in at]
        known = [lead for lead in said if lead is not None]
        if len(known) > 1:
            yield known


@cached_with_session(1)
def _options(session: Session) -> SessionOptions | None:
    return None if session.lake is None else SessionOptions.open(session.lake, session.symbol, session.date)


if __name__ == "__main__":
    place, every_nth = Lake(Path(sys.argv[1])), int(sys.argv[2]) if sys.argv[2:] else 1
    print(flicker(place, every=every_nth))
    print(option_flicker(place, every=every_nth))
