"""Options of a session in memory: what the lake has of them, and the rows and words that the page makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from textwrap import wrap

import numpy as np
import polars as pl

from engine.errors import EngineError
from engine.lake.catalog import PROFILE
from engine.live.session import LiveSession
from engine.options.chain import BUCKETS
from engine.options.lead import OptionLead, option_lead
from engine.options.profile import SCOPES
from engine.options.reading import SessionOptions, StrikeFlow, hedge_of, rules_disagree
from engine.session import Session, cached_with_session
from engine.vocab import root_of
from workbench.assets import style
from workbench.plots import axes, hedge
from workbench.plots.axes import short_price_text

FLOW_S = 300
"""Trades at strikes are those of the last so many seconds."""

WRAPPED = 60
"""Characters in a line of what the pointer reads out."""

NOTHING = "Nothing of the last minutes: without a book the future has no price."

CSS = f"<style>{style('hedge')}</style>"


def options_of(session: Session) -> SessionOptions | None:
    """The session's options; None where the lake has none that can be read, and of a session under way."""
    return _read(session)[0]


@cached_with_session(1)
def _read(session: Session) -> tuple[SessionOptions | None, str]:
    """(options, why they cannot be read): what is harmed of them takes nothing of the future's page."""
    if session.lake is None or isinstance(session, LiveSession):
        return None, ""
    try:
        return SessionOptions.open(session.lake, session.symbol, session.date), ""
    except EngineError as e:
        return None, str(e)


@cached_with_session(64)
def lead_at(session: Session, end_ns: int, price: float, scope: str, rule: str) -> OptionLead | None:
    """What options say at a price at an instant (`engine.options.lead.option_lead`); None where there are none."""
    options = options_of(session)
    return None if options is None else option_lead(options, end_ns, price, scope=scope, rule=rule)


def lacks(session: Session) -> str:
    """What to do where a session has no options, with the command."""
    if isinstance(session, LiveSession):
        return "Options of a session under way are not read: calls, puts and hedging are drawn once it is in the lake."
    if session.lake is None:
        return "This session was not read from a lake, and has no options."
    why = _read(session)[1]
    if why:
        return f"Calls, puts and hedging are not drawn: {why}"
    at = session.symbol, session.date
    if session.lake.has(PROFILE, *at):
        # Of options without a minute of gamma: to make it again gives the same.
        absent = dict.fromkeys(session.lake.notes(PROFILE, *at).get("absent", {}).values())
        none = "no minute of the session has both a price of the future and a volatility of an option"
        return f"Calls, puts and hedging are not drawn: {'; '.join(absent) or none}."
    command = session.lake.session_command(session.symbol, session.date)
    return (
        f"The lake has no options of this session: calls, puts and hedging are not drawn. With their raw files in place (docs/GAMMA.md) "
        f"`{command}` makes them."
    )


@dataclass(frozen=True)
class HedgeRows:
    """Price rows of the hedge figure: middles in ticks, what hedgers of calls and of puts trade there, and what is said of each."""

    y: np.ndarray
    calls: np.ndarray
    puts: np.ndarray
    said: list[str]


def hedge_rows(
    options: SessionOptions,
    minute: int,
    flow: StrikeFlow | None,
    *,
    scope: str,
    rule: str,
    low: int,
    high: int,
    step: int,
    tick_size: float,
) -> HedgeRows:
    """Rows from tick `low` to `high` of a minute; with `flow` the pointer reads them out."""
    ticks = np.arange(low // step * step, high + 1, step)
    y = ticks + (step - 1) / 2
    calls, puts = hedge_of(options.parts(minute, scope, y * tick_size), rule)
    rows = HedgeRows(y, calls, puts, [""] * len(y))
    if flow is not None:
        rows.said[:] = _said(options, minute, flow, rows, ticks, scope, rule, tick_size)
    return rows


def _said(
    options: SessionOptions, minute: int, flow: StrikeFlow, rows: HedgeRows, ticks: np.ndarray, scope: str, rule: str, tick_size: float
) -> list[str]:
    """What is said of each row: gamma by right and expiry; at strikes the volatility's source and trades; whose rule, and when."""
    parts = [options.parts(minute, s, rows.y * tick_size) for s in SCOPES]
    # Scopes hold each other: what a bucket has is what one has more than the one within it.
    buckets = [parts[0], parts[1] - parts[0], parts[2] - parts[1]][: SCOPES.index(scope) + 1]
    of_bucket = [np.add(*hedge_of(b, rule)) for b in buckets]
    as_of = axes.clock(int(options.minutes[minute]), seconds=False)
    foot = [f"rule {rule}, {hedge.WORDS[scope]} expiries, as of {as_of}", oi_text(options, minute)]
    found_at = options.sources(minute)
    if options.marks_lack:
        foot += ["where volatility is from is not known:", *map(escape, wrap(options.marks_lack, WRAPPED))]
    step = int(ticks[1] - ticks[0]) if len(ticks) > 1 else 1
    strikes = {int(k): i for i, k in enumerate(np.round(flow.strike / tick_size).astype(np.int64) // step * step)}
    sources: dict[int, list[str]] = {}
    for strike, found in found_at.items():
        told = f"volatility of {sum(found.values())} expiries: " + ", ".join(f"{s} {n}" for s, n in found.items())
        sources.setdefault(round(strike / tick_size) // step * step, []).append(told)
    out = []
    for i, (tick, c, p) in enumerate(zip(ticks.tolist(), rows.calls.tolist(), rows.puts.tolist())):
        if np.isnan(c):
            out.append("")
            continue
        price = short_price_text(tick, tick_size)
        lines = [
            f"<b>{price}</b> calls {signed(c)}, puts {signed(p)}, net {signed(c + p)} a point",
            " · ".join(f"{s} {signed(g[i])}" for s, g in zip(BUCKETS, of_bucket)),
        ]
        lines += sources.get(tick, [])
        lines += _traded(flow, strikes[tick]) if tick in strikes else []
        out.append("<br>".join([*lines, *foot]))
    return out


def _traded(flow: StrikeFlow, j: int) -> list[str]:
    if not flow.up[j] + flow.down[j] + flow.unsigned[j]:
        return []
    n = {c: f"{v[j]:,.0f}" for c, v in flow.contracts.items()}
    traded = ", ".join(f"{right}s {n[f'{right}_bought']} bought {n[f'{right}_sold']} sold" for right in ("call", "put"))
    sums = f"{flow.up[j]:,.0f} up, {flow.down[j]:,.0f} down, {flow.unsigned[j]:,.0f} without a side"
    return [f"strike {flow.strike[j]:g}, {FLOW_S // 60} min: {traded}", f"in futures: {sums}"]


def signed(value: float) -> str:
    """A number of contracts with its sign: ``+310``, ``−4``, ``0``."""
    text = f"{value:+,.0f}".replace("-", "−")
    return "0" if text in ("+0", "−0") else text


def oi_text(options: SessionOptions, minute: int, *, brief: bool = False) -> str:
    """Of which date the open interest is, and since when it was known; `brief` says the date alone."""
    at = options.oi_ns[minute]
    if at is None:
        return "no open interest yet"
    date = options.oi_date(minute)
    day = "" if date is None else f" {date:%m-%d}"
    return f"OI{day}" if brief else f"open interest of{day}, known since {axes.clock(at, seconds=False)}"


@dataclass(frozen=True)
class Looked:
    """Where and when what is said of options is looked at: contract, instant, the minute known then, a price and its words."""

    symbol: str
    now_ns: int
    minute: int | None
    price: float
    words: str


def panel_html(options: SessionOptions, look: Looked, *, scope: str, rule: str) -> str:
    """What stands below the figure: the three rules side by side at a price, scope, unit, as-of, and whether the rules disagree."""
    unit, minute, i = root_of(look.symbol).code, look.minute, SCOPES.index(scope)
    head = f"<div class='h'>Hedging, {unit} a point</div>"
    if minute is None:
        return f"{CSS}<div class='g'>{head}<div class='m long'>{NOTHING}</div></div>"
    by_rule, levels = options.by_rule(minute, scope, look.price), options.levels_at(look.now_ns - 1, scope, rule)
    dollars = " (dollars a point: times 50 and the price)" if unit == "ES" else ""
    what = (
        f"{unit} contracts a point, position times gamma{dollars}; positive is sold as price rises. The rule is an assumption. "
        f"{options.used[minute, i]:,} options used, {options.dropped[minute, i]:,} without a volatility; {oi_text(options, minute)}."
    )
    rows = ""
    for r, g in by_rule.items():
        on = "on" if r == rule else "m"
        name = f"{r} (rule)" if r == rule else r
        rows += f"<span class='{on}'>{name}</span><span class='n {on}'>{'–' if np.isnan(g) else signed(g)}</span>"
    bad = "<div class='bad'>≠ rules disagree</div>" if rules_disagree(by_rule) else ""
    walls = [f"{hedge.NAMES[k]} {levels[k]:g}" for k in ("call_wall", "put_wall") if k in levels]
    if "zero_gamma" in levels:
        zero = f"0G {levels['zero_gamma']:.0f} ±{hedge.ZERO_BAND:g}"
    elif not options.used[minute, i]:
        zero = "0G none: no options of these expiries"
    elif options.oi_ns[minute] is None and rule != "flow":
        zero = "0G not known: no open interest yet"
    else:
        zero = "0G none near"
    foot = f"as of {axes.clock(int(options.minutes[minute]), seconds=False)}, {oi_text(options, minute, brief=True)}"
    return (
        f"{CSS}<div class='g' role='status' aria-live='off' title='{escape(what)}'>{head}"
        f"<div class='m'>at {escape(look.words)}, {hedge.WORDS[scope]} expiries</div><div class='rules'>{rows}</div>{bad}"
        f"<div>{' · '.join(walls)}</div><div class='long'>{zero}</div><div class='m'>{foot}</div></div>"
    )


def steps_between(
    options: SessionOptions, scope: str, rule: str, now_ns: int, since_ns: int, until_ns: int, tick_size: float
) -> pl.DataFrame:
    """Walls and zero that had begun, as `workbench.views.known.known_runs` gives the other levels."""
    steps = options.steps(scope, rule).filter((pl.col("start_ts_ns") < now_ns) & (pl.col("end_ts_ns") > since_ns))
    end = pl.when(pl.col("end_ts_ns") >= now_ns).then(pl.lit(until_ns)).otherwise("end_ts_ns").alias("end_ts_ns")
    tick = (pl.col("price") / tick_size).round().cast(pl.Int32).alias("level_tick")
    return steps.select("level_id", "start_ts_ns", end, tick)
