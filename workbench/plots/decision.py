"""The decision bar: what stands at a level now, what similar setups did, what stands in the way, and the sentence that sums it up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import polars as pl

from engine.features.flow_lead import WINDOW_S, FlowLead
from engine.features.walls import Wall, in_the_way
from engine.options.lead import OptionLead
from engine.params import FlowLeadParams, WallParams
from engine.retrieval.forecast import LEANS, LEANS_SHARE, NO_EDGE, lean
from engine.session import Session, level_title
from engine.vocab import NS
from workbench.assets import style
from workbench.plots.axes import price_text, short_price_text, times_text
from workbench.plots.conditions import CONDITIONS
from workbench.plots.outcomes import FEW, class_words
from workbench.plots.words import FROM, tests_text

CSS = f"<style>{style('decision')}</style>"

SHOWN = ("break", "chop", "reject")
"""Order of the classes in the bar: the two that price chooses between are its ends."""


@dataclass(frozen=True)
class Standing:
    """What is known of a level at a moment, from what ended by then; `standing` makes it of a session.

    title, level_tick, tick_size: the level; None where it has no value, and `why` says since when it will
    last_tick: of the last trade; None before the first
    approach, distance: of the last window (``approach_up``, ``approach_down``, ``approach_none``; ticks from the level, above it positive);
        None where there is none, and `why` says why
    near: flow is of so many ticks to both sides
    flow, way: which side leads, and the walls in price's way (`engine.features.walls.in_the_way`)
    tests: touches before; None where that is not known
    confluent: titles of the levels beside it
    options: what options say at the level; None where there are none
    """

    title: str
    level_tick: int | None
    tick_size: float
    last_tick: int | None
    approach: str | None
    distance: int | None
    near: int
    flow: FlowLead
    way: tuple[Wall, ...] = ()
    why: str = ""
    tests: int | None = None
    confluent: tuple[str, ...] = field(default=())
    options: OptionLead | None = None

    @property
    def up(self) -> bool:
        """Whether price would have to rise to get through the level."""
        return goes_up(self.approach, self.distance)


def goes_up(approach: str | None, distance: int | None) -> bool:
    """Whether price has to rise to get through a level: on an approach from below, and from below it where there is no approach."""
    return approach == "approach_up" or (approach != "approach_down" and (distance or 0) <= 0)


def standing(
    session: Session, level_id: str, k_ref: int | None, end_ns: int, *, row: Mapping[str, Any] | None, near: int, step_ticks: int = 1,
    why: str = "", confluent: Iterable[str] = (),
) -> Standing:  # fmt: skip
    """What is known of a level, at tick `k_ref` (None: it has no value), at `end_ns`; `row` is its window that ended last, None without.

    `why` says why there is no reading, `confluent` names the levels beside it; both are the caller's, who has them for the whole screen.
    """
    if k_ref is None:
        nothing = FlowLead("", (), 0, 0, end_ns, known=False)
        last = session.last_tick(end_ns // NS * NS)
        return Standing(level_title(level_id), None, session.tick_size, last, None, None, near, nothing, why=why)
    known = row if row is not None and (row["book_valid"] or row["book_near"]) else None
    approach, distance = (None, None) if known is None else (str(known["approach"]), known["distance_ticks"])
    last = session.last_tick(end_ns // NS * NS)
    up = goes_up(approach, distance)
    way = () if last is None else tuple(in_the_way(session.walls(k_ref, end_ns // NS * NS), last, up=up))
    flow = session.flow_lead(k_ref, end_ns // (WINDOW_S * NS) * WINDOW_S * NS, near, step_ticks)
    tests = session.touches_before(level_id, end_ns)
    return Standing(
        level_title(level_id), k_ref, session.tick_size, last, approach, distance, near, flow, way, why, tests, tuple(confluent)
    )  # fmt: skip


# ----------------------------------------------------------------------------
# In words


def away_text(standing: Standing) -> str:
    """How far the level is from price: ``2 ticks above price``, ``at the level``."""
    if standing.distance is None:
        return ""
    if standing.distance == 0:
        return "at the level"
    n = abs(standing.distance)
    return f"{n} tick{'' if n == 1 else 's'} {'above' if standing.distance < 0 else 'below'} price"


def rows_text(rows: Iterable[int], tick_size: float, step: int = 1, most: int = 3) -> str:
    """Prices of rows, neighbours as a span: ``6799, 6800 to 6800.75``; what is beyond `most` is counted."""
    spans: list[list[int]] = []
    for tick in rows:
        if spans and tick - spans[-1][-1] == step:
            spans[-1].append(tick)
        else:
            spans.append([tick])
    texts = []
    for span in spans:
        first, last = (short_price_text(k, tick_size) for k in (span[0], span[-1]))
        texts.append(f"{first} to {last}" if len(span) > 2 else ", ".join(dict.fromkeys((first, last))))
    more = sum(len(span) for span in spans[most:])
    return ", ".join(texts[:most]) + (f" and {more} more" if more else "")


def flow_text(flow: FlowLead, near: int, tick_size: float) -> str:
    """``long outpaces short at 6799, 6800``, or that neither does, with the contracts of both."""
    if flow.side:
        other = {"long": "short", "short": "long"}[flow.side]
        return f"{flow.side} outpaces {other} at {rows_text(flow.rows, tick_size)}"
    if not flow.known:
        return "flow is not known"
    return f"long and short are even within {near} ticks ({flow.long:,} : {flow.short:,})"


def wall_text(wall: Wall, *, short: bool = False) -> str:
    """``1,240 (4.1x), growing, refilled twice, 40 s old``; of one that ended, ``141 → 25 in 5 s, pulled, not traded``."""
    if wall.fate:
        traded = "not traded" if not wall.traded else f"{wall.traded:,} traded"
        how = {"eaten": f"eaten, {traded}", "pulled": f"pulled, {traded}", "moved": f"moved, {traded}"}[wall.fate]
        return f"{wall.was:,} → {wall.size:,} in {age_text(wall.took_s)}, {how}"
    said = [f"{wall.size:,} ({times_text(wall.times)}x)"]
    said += [wall.trend] if wall.trend != "steady" else []
    said += {0: [], 1: ["refilled once"], 2: ["refilled twice"]}.get(wall.refills, [f"refilled {wall.refills} times"])
    if not short:
        said.append(f"{age_text(wall.age_s)} old" if not wall.whole_memory else f"more than {age_text(wall.age_s)} old")
    return ", ".join(said)


def age_text(seconds: int) -> str:
    """``40 s``, ``3 min``."""
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def way_text(standing: Standing, *, brief: bool = False) -> str:
    """The heaviest wall in price's way that is old enough, and one that has just ended; with `brief` that one only where none stands."""
    word, least_s = "sells" if standing.up else "buys", WallParams().named_s
    stand = next((w for w in standing.way if not w.fate and w.age_s >= least_s), None)
    gone = next((w for w in standing.way if w.fate), None)
    said = []
    if stand is not None:
        said.append(f"at {short_price_text(stand.tick, standing.tick_size)} resting {word} {wall_text(stand, short=True)}")
    if gone is not None and not (brief and stand is not None):
        said.append(f"the {word} at {short_price_text(gone.tick, standing.tick_size)} went {wall_text(gone)}")
    return "; ".join(said) or f"no wall of resting {word} in the way"


NAMED_STRIKES = 3
"""More strikes are counted."""


def option_text(lead: OptionLead, *, up: bool) -> str:
    """``hedgers sell 310 a point (hybrid; naive 180); options push up at 6800, mostly calls bought``: what hedgers do where price goes
    through the level upwards (`up`) or downwards, whether the rules disagree on it, and which way trades push.
    """

    def act(gamma: float) -> str:
        size = f"{abs(gamma):,.0f}"
        return size if size == "0" else f"{'sell' if (gamma > 0) == up else 'buy'} {size}"

    other, mine = ("hybrid" if lead.rule == "naive" else "naive"), lead.gamma[lead.rule]
    rule = lead.rule + ("" if lead.scope == "all" else f", {lead.scope}")
    if other in lead.gamma:
        g = lead.gamma[other]
        against = f"{other} {f'{abs(g):,.0f}' if g * mine > 0 else act(g)}{', rules disagree' if lead.disagree else ''}"
    else:
        against = "no open interest yet"
    does = act(mine) if act(mine) != "0" else "trade 0"
    parts = [f"hedgers {does if lead.side else f'nearly cancel, {act(mine)}'} a point ({rule}; {against})"]
    if lead.flow:
        more = len(lead.strikes) - NAMED_STRIKES
        strikes = ", ".join(f"{k:g}" for k in lead.strikes[:NAMED_STRIKES]) + (f" and {more} more" if more > 0 else "")
        where = f"at {strikes}" if lead.strikes else "over several strikes"
        way = {"up": "calls bought and puts sold", "down": "puts bought and calls sold"}[lead.flow]
        parts.append(f"options push {lead.flow} {where}, {f'mostly {lead.mostly}' if lead.mostly else way}")
    return "; ".join(parts)


def statement(standing: Standing, *, brief: bool = False) -> str:
    """One sentence: ``PM High 6800.00, approach from below, 3rd test: long outpaces short at 6799, 6800; BUT at 6802 resting sells 1,240
    (4.1x), growing.``

    BUT joins what is against the named side: sells where long outpaces short, buys where short does. `brief` leaves out what the decision
    bar says above it: levels beside it, and which test it is.
    """
    s = standing
    if s.level_tick is None:
        return f"{s.title}: {s.why}."
    head = f"{s.title} {price_text(s.level_tick, s.tick_size)}"
    if s.confluent and not brief:
        head += f", confluent with {' and '.join(filter(None, (', '.join(s.confluent[:-1]), s.confluent[-1])))}"
    if s.approach is None or s.distance is None:
        return f"{head}: no reading, {s.why or 'there is none at this time'}."
    head += f", {FROM[s.approach]}"
    if s.tests is not None and not brief:
        head += f", {tests_text(s.tests, coming=s.approach != 'approach_none')}"
    against = any(not w.fate for w in s.way) and s.flow.side == ("long" if s.up else "short")
    more = "" if s.options is None else f"; {option_text(s.options, up=s.up)}"
    return f"{head}: {flow_text(s.flow, s.near, s.tick_size)}; {'BUT ' if against else ''}{way_text(s, brief=brief)}{more}."


# ----------------------------------------------------------------------------
# What similar setups did, as one bar against what is usual


@dataclass(frozen=True)
class Verdict:
    """The forecast of one horizon against what is usual.

    shares, usual: by class, each summing to 1
    words: whether the difference from the usual is an edge
    neighbours, days, weight: setups, their distinct sessions, and their weight against the usual (0 to 1, None where it is not known)
    minutes: the horizon
    approach: ``approach_up`` or ``approach_down``
    nothing: why nothing is comparable; empty where something is
    """

    shares: Mapping[str, float]
    usual: Mapping[str, float]
    words: str
    neighbours: int
    days: int
    n_eff: float
    weight: float | None
    minutes: float
    approach: str
    nothing: str = ""


def verdict_words(rows: pl.DataFrame, n_eff: float) -> str:
    """Whether the forecast leaves what is usual: ``leans break +9, interval 3 to 15`` (points), or ``no edge: break +4, 93% interval -3 to
    11`` with the largest difference and the interval that would have to leave zero.

    `rows` have ``outcome, p, reference, edge_low, edge_high`` of one horizon, the interval being that of the difference ``p - reference``:
    what `engine.retrieval.forecast.lean` says of them.
    """
    if n_eff < FEW:
        return f"too few to tell ({n_eff:.0f} effective setups)"
    row: dict[str, Any] = {"nothing_comparable": False}
    largest = max(rows.iter_rows(named=True), key=lambda r: abs(r["p"] - r["reference"]))
    for r in rows.iter_rows(named=True):
        figures = {"p": r["p"], "pi": r["reference"], "edge_low": r["edge_low"], "edge_high": r["edge_high"]}
        row |= {f"{name}_{r['outcome']}": figure for name, figure in figures.items()}
    said, edge = lean(row).text, largest["p"] - largest["reference"]
    if said == NO_EDGE:
        low, high = (100 * (edge + LEANS * (largest[f"edge_{side}"] - edge)) for side in ("low", "high"))
        small = "under 2 points, " if low > 0 or high < 0 else ""
        said += f": {largest['outcome']} {100 * edge:+.0f}, {small}{LEANS_SHARE:.0%} interval {low:.0f} to {high:.0f}"
    return re.sub(r"[-+]0(?=[ ,]|$)", "0", said).replace("-", "−")


def verdict_of(
    outcomes: pl.DataFrame, forecast: Mapping[str, Any], *, horizon: str, approach: str, weight: float | None = None, nothing: str = ""
) -> Verdict | None:
    """The verdict of one horizon from outcomes (`engine.retrieval.neighbours.COLUMNS`) and the forecast's row; None without a row of it."""
    rows = outcomes.filter(pl.col("horizon") == horizon)
    if rows.is_empty():
        return None
    of = {r["outcome"]: r for r in rows.iter_rows(named=True)}
    usual = {c: float(of[c]["reference"]) for c in SHOWN}
    shares = usual if nothing else {c: float(of[c]["p"]) for c in SHOWN}
    n_eff = float(forecast["n_eff"])
    words = "nothing comparable" if nothing else verdict_words(rows, n_eff)
    counts = int(forecast["neighbours"]), int(forecast["distinct_days"])
    return Verdict(shares, usual, words, *counts, n_eff, weight, float(rows["minutes"][0]), approach, nothing)


# ----------------------------------------------------------------------------
# The four conditions by strength


@dataclass(frozen=True)
class Strength:
    """One condition of one direction over the last seconds.

    words: the condition
    share: of the windows in which it is known, how many it was open in, 0 to 1; None where it was known in none
    z: mean strength, positive where it opens, in standard deviations of such means; None where there are too few of them
    """

    words: str
    share: float | None
    z: float | None


SPAN_S = 30
"""Conditions are told over so many seconds."""

LEAST = 24
"""A spread is told from so many windows on: two minutes."""


def condition_strengths(vacuum: pl.DataFrame, end_ns: int, window_s: int, *, usual_s: int | None = None) -> dict[str, list[Strength]]:
    """The four conditions of each direction (``up``, ``down``) from the level's windows that ended by `end_ns`.

    The spread is the standard deviation of the means over `SPAN_S` seconds in the last `usual_s` (`FlowLeadParams.usual_s`); where it is
    0 there is no z.
    """
    usual = (usual_s or FlowLeadParams().usual_s) * NS
    ended = pl.col("window_start_ts_ns") + window_s * NS
    past = vacuum.filter((ended <= end_ns) & (ended > end_ns - usual))
    last = (past["window_start_ts_ns"] + window_s * NS > end_ns - SPAN_S * NS).to_numpy()
    out: dict[str, list[Strength]] = {}
    for direction, conditions in CONDITIONS.items():
        out[direction] = []
        for i, (words, column, sign) in enumerate(conditions, start=1):
            opened = past[f"{direction}_{i}"].filter(last).drop_nulls()
            strength = (sign * past[column].cast(pl.Float64)).fill_nan(None)
            usual_mean = strength.rolling_mean(SPAN_S // window_s).drop_nulls()
            mine = strength.filter(last).mean()
            spread = float(usual_mean.std(ddof=0)) if usual_mean.len() >= LEAST else 0.0  # type: ignore[arg-type]
            z = float(mine) / spread if spread > 0 and mine is not None else None  # type: ignore[arg-type]
            out[direction].append(Strength(words, float(opened.cast(pl.Float64).mean()) if opened.len() else None, z))  # type: ignore[arg-type]
    return out


# ----------------------------------------------------------------------------
# HTML; colours are the page's own properties, so that a change of theme needs no new text


def decision_html(standing: Standing, verdict: Verdict | str, *, waiting: bool = False) -> str:
    """The bar: level and price, verdict (or why there is none, HTML that the caller escaped), and what stands in the way."""
    middle = f"<div class='v'>{verdict}</div>" if isinstance(verdict, str) else verdict_html(verdict)
    dim = " class='dim'" if waiting else ""
    return (
        f"{CSS}<div class='d' role='status' aria-live='off'><div>{_level_html(standing)}</div>"
        f"<div{dim}>{middle}</div><div>{_way_html(standing)}</div></div>"
    )


def _level_html(s: Standing) -> str:
    said = [t for t in (away_text(s), "" if s.approach is None else FROM[s.approach].removeprefix("approach ")) if t]
    more = [] if s.tests is None else [tests_text(s.tests, coming=s.approach not in (None, "approach_none"))]
    more += [f"confluent: {', '.join(s.confluent)}"] if s.confluent else []
    last = "" if s.last_tick is None else f"<span class='last'>last <b>{price_text(s.last_tick, s.tick_size)}</b></span>"
    where = escape(" · ".join(said))
    price = "–" if s.level_tick is None else price_text(s.level_tick, s.tick_size)
    return (
        f"<div class='one' title='{where}'><b class='l'>{escape(s.title)}</b> <span class='m'>{where}</span></div>"
        f"<div class='one'><b class='price'>{price}</b>{last}</div><div class='m one'>{escape(' · '.join(more))}</div>"
    )


NAMED, NUMBERED = 0.2, 0.06
"""Parts of the bar from such shares on have room for their name, and for their number; less is told on hover."""


def verdict_html(v: Verdict) -> str:
    """One stacked bar, white ticks where its parts would end were all as usual, and the verdict under it."""
    words, ink = class_words(v.approach), _inks(v.approach)
    parts = "".join(
        f"<span class='{ink[c]}' style='width:{100 * v.shares[c]:.2f}%' title='{words[c]} {v.shares[c]:.0%}, usually {v.usual[c]:.0%}'>"
        f"{words[c] if v.shares[c] > NAMED else ''} {f'{v.shares[c]:.0%}' if v.shares[c] >= NUMBERED else ''}</span>"
        for c in SHOWN
    )
    ends = np.cumsum([v.usual[c] for c in SHOWN])[:2]
    ticks = "".join(f"<i style='left:{100 * x:.2f}%'></i>" for x in ends)
    few = " few" if v.nothing or v.n_eff < FEW else ""
    usual = "/".join(f"{100 * v.usual[c]:.0f}" for c in SHOWN)
    weight = "" if v.weight is None else f", weight <b>{v.weight:.0%}</b>"
    n = escape(v.nothing) if v.nothing else f"<b>{v.neighbours}</b> setups, <b>{v.days}</b> days{weight}"
    return (
        f"<div class='m one h'>After a touch, within {v.minutes:g} min · {n}</div><div class='bar{few}'>{parts}{ticks}</div>"
        f"<div class='one'><b class='say'>{escape(v.words)}</b> "
        f"<span class='m h'><i class='key'></i> usual {usual}</span></div>"
    )


def _inks(approach: str) -> dict[str, str]:
    back, on = ("short", "long") if approach != "approach_down" else ("long", "short")
    return {"reject": back, "chop": "chop", "break": on}


def _way_html(s: Standing) -> str:
    if s.approach is None:
        return f"<div class='m one h'>What stands in the way</div><div class='m'>no reading: {escape(s.why)}</div>"
    side = "short" if s.up else "long"
    # Those that stand as price would meet them, then those that ended.
    met = sorted(s.way, key=lambda w: (bool(w.fate), abs(w.tick - (s.last_tick or 0))))
    lines = [
        f"<div class='one{' gone' if w.fate else ''}'><b class='{side}'>{price_text(w.tick, s.tick_size)}</b> {escape(wall_text(w))}</div>"
        for w in met
    ] or [f"<div class='m'>no wall of resting {'sells' if s.up else 'buys'}</div>"]
    lead = f"<b class='{s.flow.side}'>{s.flow.side} +{s.flow.lead:.0%}</b>" if s.flow.side else "even" if s.flow.known else "not known"
    seconds = FlowLeadParams().flow_s
    told = f"{s.flow.long:,} long, {s.flow.short:,} short within {s.near} ticks of the level in {seconds} s"
    sums = f"long <b>{s.flow.long:,}</b> : short <b>{s.flow.short:,}</b> · " if s.flow.known else ""
    return (
        f"<div class='m one h'>{'What stands in the way ' + ('▲' if s.up else '▼')}</div>{''.join(lines)}"
        f"<div class='m one' title='{told}'>flow ±{s.near} ticks, {seconds} s: {sums}{lead}</div>"
    )


def open_words(counts: pl.DataFrame, row: Mapping[str, Any] | None) -> dict[str, str]:
    """By direction, what followed as many open conditions as the window `row` has: ``2 of 4: 22 of 75 broke, usually 29%``.

    `counts` are those of `engine.retrieval.statistics.open_counts`; a direction without any is left out.
    """
    out = {}
    for r in counts.iter_rows(named=True):
        if row is not None and row.get(f"{r['direction']}_open") == r["open"] and r["events"]:
            out[r["direction"]] = f"{r['open']} of 4: {r['n_break']} of {r['events']} broke, usually {r['usual']:.0%}"
    return out


def strengths_html(strengths: Mapping[str, list[Strength]], found: Mapping[str, str]) -> str:
    """Both directions side by side: a bar of the share in which each condition was open, and its strength in spreads.

    `found` is what Research found of as many open conditions, by direction; empty where that is not known.
    """
    blocks = ""
    for direction, ink, arrow in (("down", "short", "▼"), ("up", "long", "▲")):
        rows = ""
        for s in strengths[direction]:
            share, z = "–" if s.share is None else f"{s.share:.0%}", "" if s.z is None else f"{s.z:+.1f}".replace("-", "−")
            bar = f"<i class='{ink}' style='width:{100 * (s.share or 0):.0f}%'></i>"
            rows += (
                f"<span class='w'>{escape(s.words)}</span><span class='n' title='open in {share} of the last {SPAN_S} s'>{share}"
                f"<span class='track'>{bar}</span></span><span class='n m' title='mean strength, in its own usual spreads'>{z}</span>"
            )
        said = f"<div class='m'>{escape(found[direction])}</div>" if found.get(direction) else ""
        heads = "<span></span><span class='n m'>open</span><span class='n m'>z</span>"
        blocks += f"<div><div class='{ink} h'>{arrow} {direction.upper()}</div><div class='rows'>{heads}{rows}</div>{said}</div>"
    return f"{CSS}<div class='c'>{blocks}</div>"
