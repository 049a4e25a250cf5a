"""What stands on the cards of the wall: the query, its neighbours, and the stretch of the lake behind each."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import EngineError
from engine.lake.catalog import LADDER
from engine.vocab import NS, root_of
from workbench import clips, data
from workbench.clips import Stretch
from workbench.plots import axes
from workbench.plots.coding import LAYERS
from workbench.plots.neighbours import Mini, packed, shared_top
from workbench.plots.outcomes import class_colours, class_words
from workbench.similar import Similar
from workbench.theme import Theme
from workbench.views.later import Progress

CLASS_OF = {"BREAK_UP": "break", "BREAK_DOWN": "break", "REJECT_UP": "reject", "REJECT_DOWN": "reject", "CHOP": "chop"}

AXES = "up: ticks from the level · right: seconds from the touch (of the query: from the cursor) · line: last trade"


@dataclass(frozen=True, eq=False)
class Walled:
    """An answer with the small replays of its query and of its nearest setups; a sentence stands for one that cannot be read."""

    found: Similar
    stretch: Stretch
    query: Mini | str
    minis: list[Mini | str]
    top: float
    simulated: bool


def walled(found: Similar, stretch: Stretch, k: int, go_on: Progress) -> Walled:
    """Read the small replays, session by session; `go_on` is told how many, and may end it."""
    q, rows = found.question, found.answer.found.head(k).to_dicts()
    tick = int(found.trigger["level_tick"])
    query: Mini | str
    try:
        query = clips.clip(q.root, q.symbol, q.date, tick, q.end_ns, stretch).until(0.0)
    except EngineError as e:
        query = str(e)
    minis: dict[int, Mini | str] = {}
    for done, i in enumerate(sorted(range(len(rows)), key=lambda i: (rows[i]["session_date"], i))):
        go_on(done, len(rows), "")
        minis[i] = _read(q.root, rows[i], stretch, mirror=rows[i]["approach"] != found.trigger["approach"])
    ordered = [minis[i] for i in range(len(rows))]
    top = shared_top([m for m in (query, *ordered) if isinstance(m, Mini)], LAYERS[stretch.layer])
    lake = data.open_lake(q.root)
    shown = {(q.symbol, q.date), *((symbol_of(r), r["session_date"]) for r in rows)}
    simulated = any(lake.has(LADDER, *s) and lake.is_simulated(LADDER, *s) for s in shown)
    return Walled(found, stretch, query, ordered, top, simulated)


def zero_of(row: dict[str, Any]) -> int:
    """The instant that cards are aligned at: the touch, or the trigger's end where there was none."""
    return int(row["touch_ts_ns"] if row["touch_ts_ns"] is not None else row["window_end_ts_ns"])


def symbol_of(row: dict[str, Any]) -> str:
    """Contract of a trigger."""
    return str(row["trigger_id"]).split("/")[1]


def turned(stretch: Stretch) -> Stretch:
    """The stretch of a setup that is shown upside down: flow that would lift price presses it there."""
    return replace(stretch, layer={"long": "short", "short": "long"}.get(stretch.layer, stretch.layer))


def _read(root: str, row: dict[str, Any], stretch: Stretch, *, mirror: bool) -> Mini | str:
    read = turned(stretch) if mirror else stretch
    try:
        made = clips.clip(root, symbol_of(row), row["session_date"], int(row["level_tick"]), zero_of(row), read)
    except EngineError as e:
        return str(e)
    return made.mirrored(signed=LAYERS[stretch.layer].kind == "signed") if mirror else made


def wall_of(w: Walled, theme: Theme) -> dict[str, Any]:
    """The wall as the page takes it (`workbench.views.neighbours_wall.Wall`)."""
    found, layer = w.found, LAYERS[w.stretch.layer]
    signed = layer.kind == "signed"
    rows = found.answer.found.head(len(w.minis)).to_dicts()
    cards = [_query_card(w, signed), *(_card(i, r, m, w, theme, signed) for i, (r, m) in enumerate(zip(rows, w.minis)))]
    barriers = {r["barrier_ticks"] for r in rows}
    return {
        "cards": cards, "before": w.stretch.before_s, "after": w.stretch.after_s, "reach": w.stretch.reach, "top": w.top, "signed": signed,
        "barrier": barriers.pop() if len(barriers) == 1 else None, "zero": "touch",
        "words": AXES,
    }  # fmt: skip


def _price(symbol: str, tick: int, *, mirror: bool = False) -> dict[str, Any]:
    size = root_of(symbol).tick_size
    return {"price": tick * size, "size": size, "digits": axes.decimals(size), "up": -1 if mirror else 1}


def _query_card(w: Walled, signed: bool) -> dict[str, Any]:
    q, t = w.found.question, w.found.trigger
    what = data.level_title(q.level_id)
    when = f"{q.date:%m-%d} {axes.clock(q.end_ns)}"
    card = {
        "id": "query", "query": True, "what": f"{what}, now", "when": when, "like": "", "end": "", "known": 0.0, "marks": [],
        "tip": f"The setup at the cursor: {q.symbol} {q.date} {axes.clock(q.end_ns)} {what}, up to the cursor; open in Level",
        **_price(q.symbol, int(t["level_tick"])),
    }  # fmt: skip
    return {**card, "said": w.query} if isinstance(w.query, str) else {**card, **packed(w.query, signed=signed)}


def _card(i: int, row: dict[str, Any], m: Mini | str, w: Walled, theme: Theme, signed: bool) -> dict[str, Any]:
    approach = str(w.found.trigger["approach"])
    mirror = row["approach"] != approach
    symbol, zero = symbol_of(row), zero_of(row)
    title, side = data.level_title(row["level_id"]), "below" if row["approach"] == "approach_up" else "above"
    end, known = ending(row, w.found.question.horizon, zero, w)
    # By name, since the cards stay when the theme changes.
    roles = {getattr(theme, k): k for k in ("long", "short", "muted")}
    word = class_words(approach)[end] if end in CLASS_OF.values() else end
    turned = ", turned upside down" if mirror else ""
    # The contract where it is another one than the query's: a narrow card has no room for what all of them share.
    when = f"{'⇅ ' if mirror else ''}{row['session_date']:%m-%d} {axes.clock(zero, seconds=False)}"
    when += f" {symbol}" if symbol != w.found.question.symbol else ""
    like = f"{row['similarity']:.3f}"
    tip = f"{row['session_date']} {axes.clock(zero)} {symbol} {title} from {side}{turned}, similarity {like}: {word}; open in Level"
    card = {
        "id": str(i), "query": False, "what": title, "when": when, "like": like, "end": word,
        "ink": roles[class_colours(theme, approach).get(end, theme.muted)],
        "known": known, "marks": [[(int(row["window_end_ts_ns"]) - zero) / NS, "like now"]], "tip": tip,
        **_price(symbol, int(row["level_tick"]), mirror=mirror),
    }  # fmt: skip
    return {**card, "said": m} if isinstance(m, str) else {**card, **packed(m, signed=signed)}


def ending(row: dict[str, Any], horizon: str, zero: int, w: Walled) -> tuple[str, float]:
    """How a setup ended at `horizon`, and the seconds from zero from which that is known."""
    if row["touch_ts_ns"] is None:
        return "no touch", float(w.stretch.after_s)
    end = CLASS_OF.get(row[f"outcome_{horizon}"])
    if end is None:
        return "data ended", float(w.stretch.after_s)
    hit = row["first_hit_ts_ns"]
    late = float(w.stretch.after_s)
    return end, min((int(hit) - zero) / NS, late) if end != "chop" and hit is not None else late


def opened(found: Similar, i: int) -> dict[str, Any]:
    """The state that shows a neighbour's trigger."""
    row = found.answer.found.row(i, named=True)
    date: dt.date = row["session_date"]
    return {
        "contract": symbol_of(row),
        "session": date.isoformat(),
        "level": row["level_id"],
        "cursor_ts_ns": int(row["window_start_ts_ns"]),
    }
