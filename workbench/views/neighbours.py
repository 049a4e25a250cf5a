"""The Neighbours view: the most similar setups as a wall of small replays, what they did, and why they are similar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

import panel as pn
import polars as pl
from panel.viewable import Viewer
from param.parameterized import discard_events

from engine.errors import EngineError, NoData
from engine.lake.catalog import LADDER
from engine.retrieval.difference import DifferenceMap, DifferenceParams, difference_map, neighbour_pressure
from engine.session import Session, level_title
from engine.vocab import NS, root_of
from workbench import session_cache, similar
from workbench.export import Table
from workbench.plots import axes, heatmap
from workbench.plots import difference as plots
from workbench.plots.heatmap import LAYERS, legend_html
from workbench.plots.outcomes import (
    class_colours,
    class_words,
    excursion_figure,
    outcome_html,
    outcome_notice,
    paint_excursions,
    paint_why,
    theme_excursions,
    theme_why,
    why_figure,
    why_rows,
)
from workbench.plots.replay_wall import Mini, packed, shared_top
from workbench.plots.tables import CSS as TABLE_CSS
from workbench.session_cache import Stretch
from workbench.similar import Question, Similar
from workbench.state import ASKED, LevelState
from workbench.theme import FONT, MONO, THEMES, Theme, css_variables
from workbench.views import components, view
from workbench.views.background import BackgroundTask, Progress
from workbench.views.components import PANE_CSS, Chips, Form, Notices, heading, input_for
from workbench.views.controls import NEIGHBOURS_KEYS, keys_pane
from workbench.views.level_figures import LADDER_CSS
from workbench.views.outcomes import DebouncedQuery, facts_of, question_fields
from workbench.views.save import save_control
from workbench.views.viewport import Viewport, clamp_to_session, resolve
from workbench.views.wall import Wall

BEFORE_S, REACH = 120, 16
"""Seconds before the touch, and ticks on both sides of the level, that a card shows."""

SIDE_CSS = {**LADDER_CSS, "height": "100%", "overflow-y": "auto", "padding-left": "12px", "box-sizing": "border-box"}

SHOWS = {"contract", "session", "level", "cursor_ts_ns", "window_s", "layer", "half_life_s", "at", "near", "mid", "far", *ASKED}
"""Parameters whose change asks anew."""


@view("neighbours", "Neighbours", keys=NEIGHBOURS_KEYS)
class NeighboursView(Viewer):
    """Setups like the one at the cursor. `state` is the tab's state, `root` the lake.

    Attributes
    ----------
    found : Similar or None
        The answer that is on the screen; its neighbours are ``found.answer.found``.
    below : Column
        A place under the wall for what else is made of the neighbours.
    heard : list of callables
        Called with every new answer.
    """

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state = root, state
        self.look: Viewport | None = None
        self.walled: Walled | None = None
        self.heard: list[Callable[[Similar], None]] = []
        self.active, self._missed = True, False
        self.notices = Notices(complaints)
        self._arrived: Session | None = None
        self.asking = DebouncedQuery(root, self._told, work=self._work, also=self._stretch, progress=self._progress)
        self._build()
        state.param.watch(lambda *events: self._changed({e.name for e in events}), list(SHOWS))
        state.param.watch(lambda *_: self._dress(), ["theme", "palette"])
        self.wall.param.watch(lambda e: self._open(str(e.new["id"])), "opened")
        self.wall.param.watch(lambda e: self._point(e.new), "pointed")

    @property
    def found(self) -> Similar | None:
        """The answer that is on the screen."""
        return self.walled.found if self.walled else None

    def _build(self) -> None:
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        theme = THEMES[self.state.theme]
        self.say = pn.pane.HTML("", stylesheets=[PANE_CSS], **fill)
        self.mark = pn.pane.HTML(
            "<span class='sm-mark'>SIMULATED MARKET</span>", visible=False, margin=(0, 0, 0, 12), stylesheets=[PANE_CSS, TABLE_CSS]
        )
        self.layer_chips = Chips(
            label="Layer of the small replays", small=True, margin=0, width=440, value=self.state.layer, colors=css_variables(theme),
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        self.layer_chips.param.watch(lambda e: self.state.param.update(layer=e.new), "value")
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.wall = Wall(ink=ink_of(theme, "depth", self.state.palette), margin=0, sizing_mode="stretch_both", min_height=320)
        self.wait = pn.pane.HTML(wait_card("", waiting=True), stylesheets=[PANE_CSS], **fill)
        self.side = Side()
        self.difference = Difference(self.root, self.state)
        self.heard.append(self.difference.heard)
        self.below = pn.Column(self.difference.body, margin=0, sizing_mode="stretch_width")
        self.drawing = pn.Row(
            pn.Column(
                # Beside the open drawer the legend goes under the layers.
                pn.Row(self.layer_chips, self.legend, margin=(0, 0, 4, 0), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
                self.wall, self.below,
                margin=0, sizing_mode="stretch_both",
            ),
            pn.Column(*self.side.panes, margin=0, styles=SIDE_CSS, sizing_mode="stretch_both"),
            margin=0, sizing_mode="stretch_both", visible=False,
        )  # fmt: skip
        self.body = pn.Column(
            self.notices.banner, pn.Row(self.say, self.mark, **fill), self.wait, self.drawing, margin=0, sizing_mode="stretch_both",
            styles={"padding": "6px 10px", "box-sizing": "border-box", "gap": "2px"},
        )  # fmt: skip

    def __panel__(self) -> Any:
        return self.body

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        fields = [
            *question_fields(self.state),
            input_for(self.state, "neighbours_k", "Shown on the wall"),
            input_for(self.state, "palette", "Colours"),
            heading("Keys"),
        ]
        form = Form(margin=0, sizing_mode="stretch_width").bind(self.state, fields)
        return [form, keys_pane("neighbours"), save_control(lambda: neighbour_tables(self))]

    def start(self) -> None:
        """Read the session, and ask."""
        self._changed()

    def front(self, on: bool) -> None:
        """A hidden view asks nothing; it catches up when it comes back."""
        self.active = on
        if not on:
            self._missed = self.asking.stop() or self._missed
            self.difference.give_up()
        elif self._missed:
            self._changed()

    # --- asking

    def _changed(self, names: Set[str] = frozenset()) -> None:
        self._missed = not self.active
        if self._missed:
            return
        if names & {"contract", "session"} and "cursor_ts_ns" not in names:
            # A time of another session says nothing in this one.
            with discard_events(self.state):
                self.state.cursor_ts_ns = None
        if names - {"level", "cursor_ts_ns"}:
            self.notices.act()
        self.notices.show()
        self.layer_chips.value = self.state.layer
        self.asking.soon(self.state, self._looked)

    def _looked(self) -> Viewport | None:
        """The session and the window at the cursor; the state is brought into the session as the Level view brings it.

        Raises
        ------
        EngineError
            Where they are not in the lake.
        """
        st = self.state
        if st.contract is None or st.session is None:
            self._told(components.rich("There is no session in the lake yet; `spymaster demo` makes one."), False)
            return None
        session = session_cache.load(self.root, st.contract, dt.date.fromisoformat(st.session))
        level = st.level
        if session is not self._arrived:
            self.notices.complaints += clamp_to_session(st, session)
            self._arrived = session
            self.notices.show()
        self.look = look = resolve(session, st, None)
        # From now on level and time stay what they are, here and in the URL, and in the view that is opened next.
        if st.cursor_ts_ns != look.now_ns:
            st.cursor_ts_ns = look.now_ns
        if st.level != level:
            st.param.trigger("level")
        return look

    def _stretch(self) -> tuple[Stretch, int]:
        st = self.state
        assert self.look is not None
        session = self.look.session
        seconds = similar.retrieval_params(self.root, session.symbol, session.date).setups.horizons_s[int(st.horizon[1:])]
        # Resting size is that of a window's end, however short; flows of a second are noise.
        least = 1 if st.layer == "depth" else st.window_s
        return Stretch(BEFORE_S, max(seconds, BEFORE_S), REACH, st.layer, float(st.half_life_s), least), st.neighbours_k

    def _work(self, question: Question, also: tuple[Stretch, int], go_on: Progress) -> Walled:
        return walled(similar.find_in_worker(question, lambda: go_on(0, 0, "")), *also, go_on)

    def _progress(self, done: int, of: int, what: str) -> None:
        if of:
            self._wait(f"{done} of {of} small replays read", waiting=True)

    def _wait(self, html: str, *, waiting: bool) -> None:
        # Above the last wall one line; in the place of a wall a card, as the other views have it.
        line = outcome_notice(html, THEMES[self.state.theme], waiting=waiting, head="Similar setups")
        self.wait.object = line if self.walled is not None and waiting else wait_card(html, waiting=waiting)
        self.wait.visible = True

    def _told(self, found: Walled | str, waiting: bool) -> None:
        if isinstance(found, str):
            self._wait(found, waiting=waiting)
            # The last wall stays while the next is on its way; where there is none, there is none.
            if not waiting:
                self.walled, self.drawing.visible, self.mark.visible = None, False, False
                self.say.object = ""
            return
        self.walled = found
        self._paint()
        for hear in self.heard:
            hear(found.found)

    # --- painting

    def _paint(self) -> None:
        if self.walled is None:
            return
        theme, found = THEMES[self.state.theme], self.walled.found
        with pn.io.hold():
            self.say.object = components.sentence(sentence_of(self.walled))
            self.mark.visible = self.walled.simulated
            self.wall.shown = wall_of(self.walled, theme)
            self.side.paint(found, theme, outcome_html(found.outcomes, facts_of(found, self.root), theme, roomy=True))
            self._colour()
            self.wait.visible = False
            self.drawing.visible = True

    def _colour(self) -> None:
        """Palette and legend of the layer."""
        theme, layer = THEMES[self.state.theme], LAYERS[self.state.layer]
        self.wall.ink = ink_of(theme, layer.key, self.state.palette)
        self.layer_chips.colors = css_variables(theme)
        if self.walled is not None:
            w = self.walled.stretch.window_s
            self.legend.object = legend_html(layer, self.walled.top, self.wall.ink["palette"], theme, w)

    def _dress(self) -> None:
        theme = THEMES[self.state.theme]
        with pn.io.hold():
            self._colour()
            if self.walled is not None:
                found = self.walled.found
                self.side.dress(found, theme, outcome_html(found.outcomes, facts_of(found, self.root), theme, roomy=True))

    # --- acting

    def _point(self, card: str) -> None:
        """Why this one is similar; all of them where none is pointed at."""
        if self.walled is not None:
            self.side.why(self.walled.found, int(card) if card.isdigit() else None)

    def _open(self, card: str) -> None:
        """Go to the card's moment in the Level view."""
        if self.walled is None:
            return
        if not card.isdigit():
            self.state.view = "level"
            return
        moment = opened(self.walled.found, int(card))
        dates = session_cache.contracts(self.root).get(str(moment["contract"]), [])
        if moment["session"] not in dates:
            self.notices.trouble = [
                f"{moment['contract']} {moment['session']} has no ladder in this lake any more; `spymaster run` makes it"
            ]
            self.notices.show()
            return
        self.state.param["session"].objects = dates
        self.state.param.update(**moment, view="level")


def ink_of(theme: Theme, layer: str, preset: str) -> dict[str, Any]:
    """What the wall is painted with."""
    keys = ("page", "panel", "edge", "grid", "text", "muted", "level", "casing")
    palette = heatmap.palette_of(theme, LAYERS[layer], preset)
    return {**{k: getattr(theme, k) for k in keys}, "font": FONT, "mono": MONO, "palette": [c[:7] for c in palette]}


# ----------------------------------------------------------------------------
# What stands on the cards of the wall: the query, its neighbours, and the stretch of the lake behind each

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
        query = session_cache.clip(q.root, q.symbol, q.date, tick, q.end_ns, stretch).until(0.0)
    except EngineError as e:
        query = str(e)
    minis: dict[int, Mini | str] = {}
    for done, i in enumerate(sorted(range(len(rows)), key=lambda i: (rows[i]["session_date"], i))):
        go_on(done, len(rows), "")
        minis[i] = _read(q.root, rows[i], stretch, mirror=rows[i]["approach"] != found.trigger["approach"])
    ordered = [minis[i] for i in range(len(rows))]
    top = shared_top([m for m in (query, *ordered) if isinstance(m, Mini)], LAYERS[stretch.layer])
    lake = session_cache.open_lake(q.root)
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
        made = session_cache.clip(root, symbol_of(row), row["session_date"], int(row["level_tick"]), zero_of(row), read)
    except EngineError as e:
        return str(e)
    return made.mirrored(signed=LAYERS[stretch.layer].kind == "signed") if mirror else made


def wall_of(w: Walled, theme: Theme) -> dict[str, Any]:
    """The wall as the page takes it (`workbench.views.wall.Wall`)."""
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
    what = level_title(q.level_id)
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
    title, side = level_title(row["level_id"]), "below" if row["approach"] == "approach_up" else "above"
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


# ----------------------------------------------------------------------------
# Beside the wall: outcomes per horizon, how far price went, and which families of features make the setups alike


class Side:
    """Three panes; their figures are made with the first answer and patched from then on."""

    def __init__(self) -> None:
        fill: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self.outcomes = pn.pane.HTML("", margin=0, **fill)
        self.excursions = pn.pane.Bokeh(None, margin=(10, 0, 0, 0), sizing_mode="stretch_both", min_height=200, max_height=520)
        self.reasons = pn.pane.Bokeh(None, margin=(10, 0, 0, 0), sizing_mode="stretch_both", min_height=200, max_height=520)
        self.panes = [self.outcomes, self.excursions, self.reasons]

    def paint(self, found: Similar, theme: Theme, table: str) -> None:
        """Show an answer; `table` is its outcomes as HTML."""
        approach, rows = str(found.trigger["approach"]), found.answer.found
        barriers = rows["barrier_ticks"].unique().to_list()
        barrier = barriers[0] if len(barriers) == 1 else None
        self.outcomes.object = table
        if self.excursions.object is None:
            self.excursions.object = excursion_figure(rows, approach, theme, barrier=barrier, height=240)
            self.reasons.object = why_figure(why_rows(rows), theme, whose="all setups", height=210)
        else:
            paint_excursions(self.excursions.object, rows, approach, theme, barrier=barrier)
            self.why(found, None)

    def why(self, found: Similar, which: int | None) -> None:
        """Why all of them, or one of them, are similar."""
        paint_why(self.reasons.object, why_rows(found.answer.found, which), "all setups" if which is None else "the setup pointed at")

    def dress(self, found: Similar, theme: Theme, table: str) -> None:
        """Change the theme."""
        self.paint(found, theme, table)
        theme_excursions(self.excursions.object, theme)
        theme_why(self.reasons.object, theme)


# ----------------------------------------------------------------------------
# What the Neighbours view says in words: the sentence above the wall, and what stands where there is no wall


def wait_card(html: str, *, waiting: bool) -> str:
    """What stands where no wall does: what is being done, or why there is none and where another one is asked for."""
    said = f"<p style='line-height:1.7'>{html}</p>"
    if waiting:
        return f"<div class='sm-card' role='status'><h2>Looking for similar setups</h2>{said}<div class='sm-bar'></div></div>"
    more = "<p>Outcome, sessions, levels and side are chosen in the drawer (☰).</p>"
    return f"<div class='sm-card' role='status'><h2>No similar setups to show</h2>{said}{more}</div>"


def sentence_of(walled: Walled) -> str:
    """The query and its neighbours in one sentence."""
    found = walled.found
    f, t, q = found.forecast, found.trigger, found.question
    side = "below" if t["approach"] == "approach_up" else "above"
    counts = ", ".join(f"{n} {c}" for c, n in reversed(found.answer.counts.items()))
    away = abs(int(t["distance_ticks"]))
    minutes = next(m for h, m in found.outcomes.select("horizon", "minutes").iter_rows() if h == q.horizon)
    head = f"{level_title(q.level_id)} from {side}, {away} tick{'' if away == 1 else 's'} away"
    shown = len(walled.minis)
    if f["nothing_comparable"]:
        return f"{head}: nothing comparable ({f['reason']}); the {shown} nearest are shown all the same."
    return (
        f"{head}: {f['neighbours']} similar setups on {f['distinct_days']} days, after their touch {counts} within {minutes:g} min; "
        f"the {shown} nearest below."
    )


# ----------------------------------------------------------------------------
# Under the wall of neighbours: where pressure before the touch set those that broke apart from those that rejected, on demand

ASK, STOP, HIDE = "Compare break with reject", "Stop", "Hide"

PARAMS = DifferenceParams(step_ticks=2)
"""Two ticks a row: of some dozen neighbours a cell of one tick holds too little flow to tell."""


class Difference:
    """A button, and the map that it asks for; `body` is what is shown."""

    def __init__(self, root: str, state: LevelState) -> None:
        self.root, self.state = root, state
        self.found: Similar | None = None
        self.map: DifferenceMap | None = None
        self.later = BackgroundTask(self._tell)
        self.parts = plots.difference_figure(THEMES[state.theme], height=250)
        self.parts.figure.visible = False
        self.acts = Form(row=True, margin=0, fields=[{"name": "act", "kind": "group", "label": "Difference map", "options": [ASK]}])
        self.say = pn.pane.HTML("", margin=(7, 0, 0, 12), stylesheets=[PANE_CSS], sizing_mode="stretch_width")
        self.pane = pn.pane.Bokeh(self.parts.figure, visible=False, margin=0, sizing_mode="stretch_width")
        self.body = pn.Column(
            pn.Row(self.acts, self.say, margin=(4, 0), sizing_mode="stretch_width"), self.pane, margin=0, sizing_mode="stretch_width"
        )
        self.acts.param.watch(lambda e: self._on_act(e.new), "changed")
        state.param.watch(lambda e: plots.theme_difference(self.parts, THEMES[e.new]), "theme")

    def heard(self, found: Similar) -> None:
        """Other neighbours are on the wall: a map of the ones before is not theirs."""
        if self.found is None or not same_neighbours(found, self.found):
            self.later.stop()
            self.map = None
            self.found = found
            self._offer(ASK, "Net pressure in the two minutes before the touch, of the neighbours that broke minus those that rejected.")

    def give_up(self) -> None:
        """Nobody looks any more: what is under way is stopped."""
        if self.later.busy:
            self.later.stop()
            self._offer(ASK, "Stopped.")

    def _offer(self, act: str, words: str, *, shown: bool = False) -> None:
        with pn.io.hold():
            self.acts.fields = [{"name": "act", "kind": "group", "label": "Difference map", "options": [act]}]
            self.say.object = f"<div role='status' style='font:13px var(--sm-font);color:var(--sm-muted)'>{components.rich(words)}</div>"
            # The figure's own, too: a Bokeh pane that is made hidden takes the figure's word for it.
            self.pane.visible = self.parts.figure.visible = shown

    def _on_act(self, change: dict[str, Any]) -> None:
        self.acts.answered = int(change["n"])
        found = self.found
        if found is None:
            return
        if self.later.busy:
            self.give_up()
        elif self.pane.visible:
            self._offer(ASK, "")
        elif self.map is not None:
            self._done(self.map)
        else:
            self._offer(STOP, "Reading the neighbours' ladders …")
            self.later.start(lambda progress: self._work(found, progress), self._done, self._failed)

    def _work(self, found: Similar, progress: Progress) -> DifferenceMap:
        near = found.answer.found
        pressure = neighbour_pressure(session_cache.open_lake(self.root), near, PARAMS, progress)
        return difference_map(pressure, near["outcome_class"].to_list(), near["session_date"].to_numpy(), PARAMS)

    def _tell(self, done: int, of: int, what: str) -> None:
        self._offer(STOP, f"Reading the neighbours' ladders: {done} of {of} sessions")

    def _done(self, answer: DifferenceMap) -> None:
        self.map = answer
        if answer.reason:
            self._offer(ASK, f"{answer.reason[0].upper()}{answer.reason[1:]}.")
            return
        up = self.found is None or self.found.trigger["approach"] == "approach_up"
        p = answer.params
        words = plots.difference_words(
            answer.breaks, answer.break_sessions, answer.rejects, answer.reject_sessions, answer.compared, int(answer.shown.sum()), p.mass
        )
        plots.fill_difference(
            self.parts, answer.difference, answer.low, answer.high, answer.shown, window_s=p.window_s, step_ticks=p.step_ticks, up=up,
            title=f"Net pressure, break − reject: blue more long, orange more short; cells whose {p.mass:.0%} interval covers 0 are empty",
        )  # fmt: skip
        left = f"; {answer.left_out} without a ladder left out" if answer.left_out else ""
        self._offer(HIDE, f"{words}{left}.", shown=True)

    def _failed(self, error: EngineError) -> None:
        self.map = None
        self._offer(ASK, str(error))


def same_neighbours(a: Similar, b: Similar) -> bool:
    """Whether the same question has the same answer; each comes from another process, and is never the same object."""
    return a.question == b.question and a.answer.found.equals(b.answer.found)


# ----------------------------------------------------------------------------
# What the Level and the Neighbours views offer to save: the tables behind what they show, with the state that makes them


def neighbour_tables(view: NeighboursView) -> list[Table]:
    """The neighbours, their outcomes at every horizon, and the difference map."""

    def facts() -> dict[str, Any]:
        if view.found is None:
            raise NoData("there are no neighbours on the screen yet that could be saved")
        q = view.found.question
        return {
            "lake": q.root, "contract": q.symbol, "session": q.date.isoformat(), "level": q.level_id, "end_ts_ns": q.end_ns, "mode": q.mode,
            "pool": q.pool, "horizon": q.horizon, "direction": view.found.trigger["approach"],
            "simulated": bool(view.look and view.look.session.simulated),
        }  # fmt: skip

    def near() -> tuple[pl.DataFrame, dict[str, Any]]:
        said = facts()
        assert view.found is not None
        return view.found.answer.found, said

    def outcomes() -> tuple[pl.DataFrame, dict[str, Any]]:
        said = facts()
        assert view.found is not None
        return view.found.outcomes, said

    def difference() -> tuple[pl.DataFrame, dict[str, Any]]:
        said, made = facts(), view.difference.map
        if made is None:
            raise NoData("the difference map is not made yet: its button is under the wall of neighbours")
        return made.to_frame(), {**said, "breaks": made.breaks, "rejects": made.rejects, **made.params.model_dump()}

    return [
        Table("neighbours", "Neighbours, the most similar first", near),
        Table("outcomes", "Outcomes at every horizon", outcomes),
        Table("difference", "Difference map", difference),
    ]
