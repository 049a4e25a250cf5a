"""The Neighbours view: the most similar setups as a wall of small replays, what they did, and why they are similar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import panel as pn
import param
import polars as pl
from panel.custom import JSComponent

from engine.errors import EngineError, NoData
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.retrieval.difference import DifferenceMap, DifferenceParams, difference_map, neighbour_pressure
from engine.session import Session, level_title
from engine.vocab import NS, root_of
from workbench import lakes, session_cache, similar
from workbench.assets import script, style
from workbench.export import Table
from workbench.plots import axes, heatmap, importance, outcomes
from workbench.plots import difference as plots
from workbench.plots.heatmap import LAYERS, legend_html
from workbench.plots.replay_wall import Mini, packed, shared_top
from workbench.session_cache import Stretch
from workbench.similar import Question, Similar
from workbench.state import ASKED, LevelState
from workbench.theme import FONT, MONO, THEMES, Theme, css_variables
from workbench.views import components, view
from workbench.views.background import BackgroundTask, Progress
from workbench.views.base import PageView
from workbench.views.components import BOTH, FILL, LADDER_CSS, Form, buttons, html, input_for, layer_chips, simulated_mark
from workbench.views.controls import NEIGHBOURS_KEYS, keys_pane
from workbench.views.nearest import ending, setup_words, side_of, symbol_of, zero_of
from workbench.views.outcomes import DebouncedQuery, find_unless_stopped, outcomes_html, question_fields
from workbench.views.save import save_control
from workbench.views.viewport import Viewport, clamp_to_session, forget_time, resolve

BEFORE_S, REACH = 120, 16
"""Seconds before the touch, and ticks on both sides of the level, that a card shows."""

SHOWS = {"contract", "session", "level", "cursor_ts_ns", "window_s", "layer", "half_life_s", "at", "near", "mid", "far", *ASKED}
"""Parameters whose change asks again."""


class Wall(JSComponent):
    """Cards of similar setups with small replays, and one scrubber for all of them.

    `shown` comes whole, so that no card is drawn on another's scale. A card has ``id``; the words of its head ``what, when, like, end``
    with ``ink``, which of the theme's colours `end` has, and ``known``, the seconds from zero from which its end is known; ``tip``;
    ``query``, whether it is the query; ``price, size, digits, up`` (price of the level and of a tick, digits of a price, -1 where it is
    upside down); ``marks``, pairs of seconds and a word; and the small replay as `workbench.plots.replay_wall.packed` has it, or ``said``
    in its place.
    """

    shown = param.Dict(
        default={}, doc="The cards, the query first; before, after (seconds), reach, barrier (ticks), zero, words; top, signed"
    )
    ink = param.Dict(default={}, doc="Colours of the theme, its fonts, and the palette of 256 colours")
    opened = param.Dict(default={}, doc="Card that was chosen: id, and a running number")
    pointed = param.String(default="", doc="Id of the card under the pointer or with the focus; empty for none")

    _stylesheets: ClassVar[list[str]] = [style("wall")]
    _esm = script("make", "wall")


@view("neighbours", "Neighbours", keys=NEIGHBOURS_KEYS)
class NeighboursView(PageView):
    """Setups like the one at the cursor."""

    follows: ClassVar[frozenset[str]] = frozenset(SHOWS)

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(root, state, complaints, **params)
        self.look: Viewport | None = None
        self.walled: Walled | None = None
        self._arrived: Session | None = None
        self.asking = DebouncedQuery(root, self._on_answer, work=self._work, also=self._stretch, progress=self._progress)
        self._build()
        state.param.watch(lambda *_: self._apply_theme(), ["theme", "palette"])
        self.wall.param.watch(lambda e: self._open(str(e.new["id"])), "opened")
        self.wall.param.watch(lambda e: self._point(e.new), "pointed")

    @property
    def found(self) -> Similar | None:
        """The answer that is on the screen; its neighbours are ``found.answer.found``."""
        return self.walled.found if self.walled else None

    def _build(self) -> None:
        theme = THEMES[self.state.theme]
        self.say, self.mark = html(), simulated_mark(self.root)
        self.layer_chips = layer_chips(self.state, "Layer of the small replays", colors=css_variables(theme))
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.wall = Wall(ink=ink_of(theme, "depth", self.state.palette), min_height=320, **BOTH)
        self.wait = html(wait_card("", waiting=True))
        self.side = Side()
        self.difference = Difference(self.root, self.state)
        self.drawing = pn.Row(
            pn.Column(
                # Beside the open drawer the legend goes under the layers.
                pn.Row(self.layer_chips, self.legend, margin=(0, 0, 4, 0), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
                self.wall, pn.Column(self.difference.body, **FILL), **BOTH,
            ),
            pn.Column(*self.side.panes, styles=LADDER_CSS, **components.layout("sm-side"), **BOTH),
            visible=False, **BOTH,
        )  # fmt: skip
        self.body = pn.Column(
            self.notices.banner, pn.Row(self.say, self.mark, **FILL), self.wait, self.drawing,
            styles={"padding": "6px 10px", "box-sizing": "border-box", "gap": "2px"}, **BOTH,
        )  # fmt: skip

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        fields = [
            *question_fields(self.state),
            input_for(self.state, "neighbours_k", "Shown on the wall"),
            input_for(self.state, "palette", "Colours"),
            components.heading("Keys"),
        ]
        return [Form(**FILL).bind(self.state, fields), keys_pane("neighbours"), save_control(lambda: neighbour_tables(self))]

    def open(self) -> None:
        """Read the session, and ask."""
        self.changed(set())

    def rest(self) -> bool:
        """Ask nothing any more."""
        self.difference.give_up()
        return self.asking.stop()

    def changed(self, names: set[str]) -> None:
        """Ask again once nothing changes any more."""
        forget_time(self.state, names)
        self.layer_chips.value = self.state.layer
        self.asking.soon(self.state, self._looked)

    def _looked(self) -> Viewport | None:
        """The session and the window at the cursor; the state is brought into the session as the Level view brings it."""
        st, session, level = self.state, components.session_of(self.root, self.state), self.state.level
        if session is None:
            self._on_answer(components.rich("There is no session in the lake yet."), False)
            return None
        if session is not self._arrived:
            self.notices.complaints += clamp_to_session(st, session)
            self._arrived = session
            self.notices.show()
        self.look = look = resolve(session, st)
        # From now on level and time stay what they are, here and in the URL, and in the view that is opened next.
        if st.cursor_ts_ns != look.now_ns:
            self.put(cursor_ts_ns=look.now_ns)
        if st.level != level:
            self._putting = True
            st.param.trigger("level")
            self._putting = False
        return look

    def _stretch(self) -> tuple[Stretch, int]:
        assert self.look is not None
        st, session = self.state, self.look.session
        seconds = similar.retrieval_params(self.root, session.symbol, session.date).setups.horizons_s[int(st.horizon[1:])]
        # Resting size is that of a window's end, however short; flows of a second are noise.
        least = 1 if st.layer == "depth" else st.window_s
        return Stretch(BEFORE_S, max(seconds, BEFORE_S), REACH, st.layer, float(st.half_life_s), least), st.neighbours_k

    def _work(self, question: Question, also: tuple[Stretch, int], go_on: Progress) -> Walled:
        return walled(find_unless_stopped(question, go_on), *also, go_on)

    def _progress(self, done: int, of: int, what: str) -> None:
        if of:
            self._wait(f"{done} of {of} small replays read", waiting=True)

    def _wait(self, said: str, *, waiting: bool) -> None:
        # Above the last wall one line; in the place of a wall a card, as the other views have it.
        line = outcomes.outcome_notice(said, THEMES[self.state.theme], waiting=waiting, head="Similar setups")
        self.wait.object = line if self.walled is not None and waiting else wait_card(said, waiting=waiting)
        self.wait.visible = True

    def _on_answer(self, found: Walled | str, waiting: bool) -> None:
        if isinstance(found, str):
            self._wait(found, waiting=waiting)
            # The last wall stays while the next is on its way; where there is none, there is none.
            if not waiting:
                self.walled, self.drawing.visible, self.mark.visible = None, False, False
                self.say.object = ""
            return
        self.walled = found
        theme = THEMES[self.state.theme]
        with pn.io.hold():
            self.say.object = components.sentence(sentence_of(found))
            self.mark.visible = found.simulated
            self.wall.shown = wall_of(found, theme)
            self.side.paint(found.found, theme)
            self._colour()
            self.wait.visible, self.drawing.visible = False, True
        self.difference.follow(found.found)

    def _colour(self) -> None:
        theme, layer = THEMES[self.state.theme], LAYERS[self.state.layer]
        self.wall.ink = ink_of(theme, layer.key, self.state.palette)
        self.layer_chips.colors = css_variables(theme)
        if self.walled is not None:
            w = self.walled.stretch.window_s
            self.legend.object = legend_html(layer, self.walled.top, self.wall.ink["palette"], theme, w)

    def _apply_theme(self) -> None:
        with pn.io.hold():
            self._colour()
            if self.walled is not None:
                self.side.apply_theme(self.walled.found, THEMES[self.state.theme])

    def _point(self, card: str) -> None:
        if self.walled is not None:
            self.side.why(self.walled.found, int(card) if card.isdigit() else None)

    def _open(self, card: str) -> None:
        if self.walled is None:
            return
        if not card.isdigit():
            self.state.view = "level"
            return
        moment = opened(self.walled.found, int(card))
        dates = lakes.contracts(self.root).get(str(moment["contract"]), [])
        if moment["session"] not in dates:
            command = Lake(self.root).session_command(str(moment["contract"]), moment["session"])
            self.notices.show(f"{moment['contract']} {moment['session']} has no ladder in this lake any more; `{command}` makes it")
            return
        self.state.param["session"].objects = dates
        self.state.param.update(**moment, view="level")


def ink_of(theme: Theme, layer: str, preset: str) -> dict[str, Any]:
    """What the wall is painted with."""
    keys = ("page", "panel", "edge", "grid", "text", "muted", "level", "casing")
    palette = heatmap.palette_of(theme, LAYERS[layer], preset)
    return {**{k: getattr(theme, k) for k in keys}, "font": FONT, "mono": MONO, "palette": [c[:7] for c in palette]}


# ----------------------------------------------------------------------------
# What is on the cards of the wall: the query, its neighbours, and the stretch of the lake behind each

AXES = "up: ticks from the level · right: seconds from the touch (of the query: from the cursor) · line: last trade"


@dataclass(frozen=True, eq=False)
class Walled:
    """An answer with the small replays of its query and of its nearest setups; a sentence instead of one that cannot be read."""

    found: Similar
    stretch: Stretch
    query: Mini | str
    minis: list[Mini | str]
    top: float
    simulated: bool

    @property
    def signed(self) -> bool:
        """Whether the layer shown has two signs."""
        return LAYERS[self.stretch.layer].kind == "signed"


def walled(found: Similar, stretch: Stretch, k: int, go_on: Progress) -> Walled:
    """Read the small replays, session by session; `go_on` is told how many, and may end it."""
    q, rows = found.question, found.answer.found.head(k).to_dicts()
    query = _read(q.root, q.symbol, q.date, int(found.trigger["level_tick"]), q.end_ns, stretch)
    if isinstance(query, Mini):
        query = query.until(0.0)
    minis: dict[int, Mini | str] = {}
    for done, (i, row) in enumerate(sorted(enumerate(rows), key=lambda of: (of[1]["session_date"], of[0]))):
        go_on(done, len(rows), "")
        at = symbol_of(row), row["session_date"], int(row["level_tick"]), zero_of(row)
        minis[i] = _read(q.root, *at, stretch, mirror=row["approach"] != found.trigger["approach"])
    ordered = [minis[i] for i in range(len(rows))]
    top = shared_top([m for m in (query, *ordered) if isinstance(m, Mini)], LAYERS[stretch.layer])
    lake = lakes.open_lake(q.root)
    shown = {(q.symbol, q.date), *((symbol_of(r), r["session_date"]) for r in rows)}
    simulated = any(lake.has(LADDER, *s) and lake.is_simulated(LADDER, *s) for s in shown)
    return Walled(found, stretch, query, ordered, top, simulated)


def turned(stretch: Stretch) -> Stretch:
    """The stretch of a setup that is shown upside down: flow that would lift price presses it there."""
    return replace(stretch, layer={"long": "short", "short": "long"}.get(stretch.layer, stretch.layer))


def _read(root: str, symbol: str, date: dt.date, tick: int, zero_ns: int, stretch: Stretch, *, mirror: bool = False) -> Mini | str:
    try:
        made = session_cache.clip(root, symbol, date, tick, zero_ns, turned(stretch) if mirror else stretch)
    except EngineError as e:
        return str(e)
    return made.mirrored(signed=LAYERS[stretch.layer].kind == "signed") if mirror else made


def wall_of(w: Walled, theme: Theme) -> dict[str, Any]:
    """The wall as `Wall` takes it."""
    rows = w.found.answer.found.head(len(w.minis)).to_dicts()
    barriers = {r["barrier_ticks"] for r in rows}
    return {
        "cards": [_query_card(w), *(_card(i, r, m, w, theme) for i, (r, m) in enumerate(zip(rows, w.minis)))],
        "before": w.stretch.before_s, "after": w.stretch.after_s, "reach": w.stretch.reach, "top": w.top, "signed": w.signed,
        "barrier": barriers.pop() if len(barriers) == 1 else None, "zero": "touch", "words": AXES,
    }  # fmt: skip


def _drawn(w: Walled, mini: Mini | str, symbol: str, tick: int, *, up: int = 1) -> dict[str, Any]:
    """The part of a card that draws: the price of the level, and the small replay, or what is said in its place."""
    size = root_of(symbol).tick_size
    made = {"said": mini} if isinstance(mini, str) else packed(mini, signed=w.signed)
    return {"price": tick * size, "size": size, "digits": axes.decimals(size), "up": up, **made}


def _query_card(w: Walled) -> dict[str, Any]:
    q, clock = w.found.question, axes.clock(w.found.question.end_ns)
    what = level_title(q.level_id)
    return {
        "id": "query", "query": True, "what": f"{what}, now", "when": f"{q.date:%m-%d} {clock}", "like": "", "end": "", "known": 0.0,
        "marks": [], "tip": f"The setup at the cursor: {q.symbol} {q.date} {clock} {what}, up to the cursor; open in Level",
        **_drawn(w, w.query, q.symbol, int(w.found.trigger["level_tick"])),
    }  # fmt: skip


def _card(i: int, row: dict[str, Any], m: Mini | str, w: Walled, theme: Theme) -> dict[str, Any]:
    zero, words = zero_of(row), setup_words(i, row, w.found, theme)
    return words | {
        "query": False, "known": known_from(row, w.found.question.horizon, float(w.stretch.after_s)),
        "marks": [[(int(row["window_end_ts_ns"]) - zero) / NS, "like now"]], "tip": f"{words['tip']}; open in Level",
        **_drawn(w, m, symbol_of(row), int(row["level_tick"]), up=words["up"]),
    }  # fmt: skip


def known_from(row: dict[str, Any], horizon: str, late: float) -> float:
    """Seconds from zero from which it is known how a setup ended at `horizon`, at most `late`."""
    hit = row["first_hit_ts_ns"]
    return min((int(hit) - zero_of(row)) / NS, late) if ending(row, horizon) in ("break", "reject") and hit is not None else late


def opened(found: Similar, i: int) -> dict[str, Any]:
    """The state that shows a neighbour's trigger."""
    row = found.answer.found.row(i, named=True)
    date, end_ns = row["session_date"].isoformat(), int(row["window_end_ts_ns"])
    return {"contract": symbol_of(row), "session": date, "level": row["level_id"], "cursor_ts_ns": end_ns}


WHY_HEAD_PX, WHY_ROW_PX = 90, 16
"""Height of the figure of what makes setups alike: title and axis, and each family."""


class Side:
    """Beside the wall: outcomes per horizon, when and what moved the forecast, how far price went, and what makes the setups similar.

    The figures are made with the first answer and patched from then on.
    """

    def __init__(self) -> None:
        tall: dict[str, Any] = {"margin": (10, 0, 0, 0), "sizing_mode": "stretch_both", "min_height": 200, "max_height": 520}
        self.outcomes = pn.pane.HTML("", **FILL)
        self.excursions, self.reasons = pn.pane.Bokeh(None, **tall), pn.pane.Bokeh(None, **tall)
        self.moved = pn.pane.Bokeh(None, visible=False, **{**tall, "min_height": 150, "max_height": 260})
        self.panes = [self.outcomes, self.moved, self.excursions, self.reasons]

    def paint(self, found: Similar, theme: Theme) -> None:
        """Show an answer."""
        approach, rows = str(found.trigger["approach"]), found.answer.found
        barriers = rows["barrier_ticks"].unique().to_list()
        barrier = barriers[0] if len(barriers) == 1 else None
        self.outcomes.object = outcomes_html(found, theme, roomy=True)
        if self.excursions.object is None:
            self.excursions.object = outcomes.excursion_figure(rows, approach, theme, barrier=barrier, height=240)
            reasons = outcomes.why_rows(rows)
            self.reasons.min_height = max(200, WHY_HEAD_PX + WHY_ROW_PX * reasons.height)
            self.reasons.object = outcomes.why_figure(reasons, theme, whose="all setups", height=self.reasons.min_height)
        else:
            outcomes.paint_excursions(self.excursions.object, rows, approach, theme, barrier=barrier)
            self.why(found, None)
        moved = found.answer.importance
        # Where setups are compared as they are, nothing was read of the query that could be told apart; features of the moment alone, such
        # as the walls', have no course in time.
        if moved is None or not moved.cells.any():
            self.moved.visible = False
            return
        self.moved.visible = True
        if self.moved.object is None:
            self.moved.object = importance.importance_figure(moved, theme, approach)
        else:
            importance.paint_importance(self.moved.object, moved, theme, approach)

    def why(self, found: Similar, which: int | None) -> None:
        """Why all of them, or one of them, are similar."""
        whose = "all setups" if which is None else "the setup pointed at"
        outcomes.paint_why(self.reasons.object, outcomes.why_rows(found.answer.found, which), whose)

    def apply_theme(self, found: Similar, theme: Theme) -> None:
        """Change the theme."""
        self.paint(found, theme)
        outcomes.theme_excursions(self.excursions.object, theme)
        outcomes.theme_why(self.reasons.object, theme)
        if self.moved.object is not None:
            importance.theme_importance(self.moved.object, theme)


def wait_card(html: str, *, waiting: bool) -> str:
    """Card where there is no wall: what is being done, or why there is none and where another one is asked for."""
    head, more = "No similar setups to show", "<p>Outcome, sessions, levels and side are chosen in the drawer (☰).</p>"
    if waiting:
        head, more = "Looking for similar setups", "<div class='sm-bar'></div>"
    return f"<div class='sm-card' role='status'><h2>{head}</h2><p style='line-height:1.7'>{html}</p>{more}</div>"


def sentence_of(walled: Walled) -> str:
    """The query and its neighbours in one sentence."""
    found, shown = walled.found, len(walled.minis)
    f, t, q = found.forecast, found.trigger, found.question
    counts = ", ".join(f"{n} {c}" for c, n in reversed(found.answer.counts.items()))
    away = abs(int(t["distance_ticks"]))
    minutes = next(m for h, m in found.outcomes.select("horizon", "minutes").iter_rows() if h == q.horizon)
    head = f"{level_title(q.level_id)} from {side_of(t['approach'])}, {away} tick{'' if away == 1 else 's'} away"
    if f["nothing_comparable"]:
        return f"{head}: nothing comparable ({f['reason']}); the {shown} nearest are shown all the same."
    return (
        f"{head}: {f['neighbours']} similar setups on {f['distinct_days']} days, after their touch {counts} within {minutes:g} min; "
        f"the {shown} nearest below."
    )


# ----------------------------------------------------------------------------
# Under the wall: where pressure before the touch set those that broke apart from those that rejected, on demand

ASK, STOP, HIDE = "Compare break with reject", "Stop", "Hide"

PARAMS = DifferenceParams(step_ticks=2)
"""Two ticks a row: of some dozen neighbours a cell of one tick holds too little flow to tell."""


class Difference:
    """A button, and the map that it asks for; `body` is what is shown."""

    def __init__(self, root: str, state: LevelState) -> None:
        self.root, self.state = root, state
        self.found: Similar | None = None
        self.map: DifferenceMap | None = None
        self.later = BackgroundTask(lambda done, of, _: self._offer(STOP, f"Reading the neighbours' ladders: {done} of {of} sessions"))
        self.parts = plots.difference_figure(THEMES[state.theme], height=250)
        self.parts.figure.visible = False
        self.acts = Form(row=True, margin=0, fields=[buttons("act", "Difference map", ASK)])
        self.say = html(margin=(7, 0, 0, 12))
        self.pane = pn.pane.Bokeh(self.parts.figure, visible=False, **FILL)
        self.body = pn.Column(pn.Row(self.acts, self.say, margin=(4, 0), sizing_mode="stretch_width"), self.pane, **FILL)
        self.acts.param.watch(lambda e: self._on_act(e.new), "changed")
        state.param.watch(lambda e: plots.theme_difference(self.parts, THEMES[e.new]), "theme")

    def follow(self, found: Similar) -> None:
        """Other neighbours are on the wall: a map of the ones before is not theirs."""
        had = self.found
        # Each answer comes from another process, and is never the same object.
        if had is None or found.question != had.question or not found.answer.found.equals(had.answer.found):
            self.later.stop()
            self.map, self.found = None, found
            self._offer(ASK, "Net pressure in the two minutes before the touch, of the neighbours that broke minus those that rejected.")

    def give_up(self) -> None:
        """Nobody looks any more: what is under way is stopped."""
        if self.later.busy:
            self.later.stop()
            self._offer(ASK, "Stopped.")

    def _offer(self, act: str, words: str, *, shown: bool = False) -> None:
        with pn.io.hold():
            self.acts.fields = [buttons("act", "Difference map", act)]
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
        pressure = neighbour_pressure(lakes.open_lake(self.root), near, PARAMS, progress)
        return difference_map(pressure, near["outcome_class"].to_list(), near["session_date"].to_numpy(), PARAMS)

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


def neighbour_tables(view: NeighboursView) -> list[Table]:
    """What can be saved: the neighbours, their outcomes at every horizon, and the difference map, each with the state it is of."""

    def table(key: str, label: str, frame: Callable[[Similar], tuple[pl.DataFrame, dict[str, Any]]]) -> Table:
        def make() -> tuple[pl.DataFrame, dict[str, Any]]:
            if view.found is None:
                raise NoData("there are no neighbours on the screen yet that could be saved")
            q, (made, more) = view.found.question, frame(view.found)
            return made, {
                "lake": q.root, "contract": q.symbol, "session": q.date.isoformat(), "level": q.level_id, "end_ts_ns": q.end_ns,
                "mode": q.mode, "pool": q.pool, "horizon": q.horizon, "direction": view.found.trigger["approach"],
                "simulated": bool(view.look and view.look.session.simulated), **more,
            }  # fmt: skip

        return Table(key, label, make)

    def difference(found: Similar) -> tuple[pl.DataFrame, dict[str, Any]]:
        made = view.difference.map
        if made is None:
            raise NoData("the difference map is not made yet: its button is under the wall of neighbours")
        return made.to_frame(), {"breaks": made.breaks, "rejects": made.rejects, **made.params.model_dump()}

    return [
        table("neighbours", "Neighbours, the most similar first", lambda found: (found.answer.found, {})),
        table("outcomes", "Outcomes at every horizon", lambda found: (found.outcomes, {})),
        table("difference", "Difference map", difference),
    ]
