"""The Neighbours view: the most similar setups as a wall of small replays, what they did, and why they are similar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Set
from typing import Any

import panel as pn
from panel.viewable import Viewer
from param.parameterized import discard_events

from workbench import data, similar
from workbench.clips import Stretch
from workbench.plots import chart
from workbench.plots.coding import LAYERS
from workbench.plots.legend import legend_html
from workbench.plots.outcome_table import outcome_html, outcome_notice
from workbench.plots.tables import CSS as TABLE_CSS
from workbench.similar import Question, Similar
from workbench.state import ASKED, LevelState
from workbench.theme import FONT, MONO, THEMES, Theme, css_variables
from workbench.views import notices, view
from workbench.views.arrival import arrive
from workbench.views.banner import Notices
from workbench.views.difference import Difference
from workbench.views.form import Form, field, heading
from workbench.views.keys_help import NEIGHBOURS_KEYS, keys_pane
from workbench.views.later import Progress
from workbench.views.look import Look, resolve
from workbench.views.neighbours_cards import Walled, opened, wall_of, walled
from workbench.views.neighbours_side import Side
from workbench.views.neighbours_wall import Wall
from workbench.views.neighbours_words import sentence_of, wait_card
from workbench.views.outcomes import Asking, facts_of, question_fields
from workbench.views.parts import Chips
from workbench.views.pictures import LADDER_CSS
from workbench.views.save import save_control
from workbench.views.save_tables import neighbour_tables
from workbench.views.style import PANE_CSS

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
        self.look: Look | None = None
        self.walled: Walled | None = None
        self.heard: list[Callable[[Similar], None]] = []
        self.active, self._missed = True, False
        self.notices = Notices(complaints)
        self._arrived: data.Session | None = None
        self.asking = Asking(root, self._told, work=self._work, also=self._stretch, progress=self._progress)
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
            field(self.state, "neighbours_k", "Shown on the wall"),
            field(self.state, "palette", "Colours"),
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

    def _looked(self) -> Look | None:
        """The session and the window at the cursor; the state is brought into the session as the Level view brings it.

        Raises
        ------
        EngineError
            Where they are not in the lake.
        """
        st = self.state
        if st.contract is None or st.session is None:
            self._told(notices.rich("There is no session in the lake yet; `spymaster demo` makes one."), False)
            return None
        session = data.load(self.root, st.contract, dt.date.fromisoformat(st.session))
        level = st.level
        if session is not self._arrived:
            self.notices.complaints += arrive(st, session)
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
        seconds = similar.knobs(self.root, session.symbol, session.date).setups.horizons_s[int(st.horizon[1:])]
        # Resting size is that of a window's end, however short; flows of a second are noise.
        least = 1 if st.layer == "depth" else st.window_s
        return Stretch(BEFORE_S, max(seconds, BEFORE_S), REACH, st.layer, float(st.half_life_s), least), st.neighbours_k

    def _work(self, question: Question, also: tuple[Stretch, int], go_on: Progress) -> Walled:
        return walled(similar.find_aside(question, lambda: go_on(0, 0, "")), *also, go_on)

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
            self.say.object = notices.sentence(sentence_of(self.walled))
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
        dates = data.contracts(self.root).get(str(moment["contract"]), [])
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
    palette = chart.palette_of(theme, LAYERS[layer], preset)
    return {**{k: getattr(theme, k) for k in keys}, "font": FONT, "mono": MONO, "palette": [c[:7] for c in palette]}
