"""The replay's words: sentence, conditions, levels and legend beside the figures, the path in the scrubber; slower than the figures."""

from __future__ import annotations

from typing import Any, ClassVar

import panel as pn
import param
import polars as pl
from panel.custom import JSComponent

from engine.ladder import NO_TICK
from engine.vocab import NS
from workbench import data
from workbench.plots import axes, conditions
from workbench.plots.chart import palette_of
from workbench.plots.coding import LAYERS
from workbench.plots.legend import legend_html
from workbench.plots.sentence import sentence
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import notices
from workbench.views import replay_past as past
from workbench.views.parts import Chips
from workbench.views.replay_deck import Deck
from workbench.views.replay_frame import Frame
from workbench.views.replay_levels import known_items
from workbench.views.replay_pictures import LADDER_CSS
from workbench.views.style import PANE_CSS

TRACK_EVERY_S = 20
"""The scrubber's path has a point for so many seconds."""


class Said(JSComponent):
    """Text that changes often. A pane of Panel's has the page laid out anew for each change (20 ms)."""

    html = param.String(default="", doc="What is said; whoever sets it has escaped what comes from elsewhere")

    _stylesheets: ClassVar[list[str]] = [PANE_CSS]
    _esm = """
    export function render({ model }) {
      const box = document.createElement("div");
      const say = () => { box.innerHTML = model.html; };
      say();
      model.on("html", say);
      return box;
    }
    """


class ReplayWords:
    """What is said about a frame."""

    def __init__(self, state: LevelState, deck: Deck) -> None:
        self.state, self.deck = state, deck
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        self.levels = Chips(label="Level", **fill)
        self.say = Said(**fill)
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.conditions = Said(styles=LADDER_CSS, margin=0)
        self.layer_chips = Chips(
            label="Heatmap layer", small=True, margin=0, width=440, value=state.layer,
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        self._track_key: tuple[Any, ...] = ()
        self._scale: tuple[Any, ...] = ()
        self.parts = (self._paint_sentence, self._paint_levels, self._paint_conditions, self._paint_track)
        self._turn = 0

    def paint(self, frame: Frame, rows: pl.DataFrame) -> None:
        """Say what `frame` shows; `rows` are the ladder's."""
        for part in self.parts:
            part(frame, rows)

    def paint_some(self, frame: Frame, rows: pl.DataFrame) -> None:
        """Say one part of it, another one each time: all at once would hold up a frame of a replay that plays."""
        self._turn = (self._turn + 1) % len(self.parts)
        self.parts[self._turn](frame, rows)

    def _paint_sentence(self, frame: Frame, rows: pl.DataFrame) -> None:
        look, s = frame.look, frame.look.session
        row = self._row(frame)
        zones = look.params.zones
        valid = row is not None and bool(row["book_valid"])
        if look.known:
            why = "nothing has traded yet" if valid else f"the book is not valid at {axes.clock(frame.now_ns)}"
            if row is None:
                why = f"no window has ended since it is known, by {axes.clock(frame.now_ns)}"
            text = sentence(
                look.title, look.k_ref, rows, tick_size=s.tick_size, near=zones.near, far=zones.far,
                approach=str(row["approach"]) if row is not None and valid else None,
                distance=row["distance_ticks"] if row is not None and valid else None,  # type: ignore[arg-type]
                why=why,
            )  # fmt: skip
        else:
            text = f"{look.title}: not known yet at {axes.clock(frame.now_ns)}."
        self.say.html = notices.sentence(text)

    def _row(self, frame: Frame) -> dict[str, object] | None:
        look = frame.look
        return past.strip(look.session, look.level_id, look.params).row(frame.now_ns)

    def _paint_conditions(self, frame: Frame, rows: pl.DataFrame) -> None:
        theme = THEMES[self.state.theme]
        self.conditions.html = conditions.words_html(self._row(frame) if frame.look.known else None, theme)
        scale = (frame.slab.layer, frame.slab.top, self.state.palette, theme)
        if scale != self._scale:
            self._scale = scale
            palette = palette_of(theme, frame.slab.layer, self.state.palette)
            self.legend.object = legend_html(frame.slab.layer, frame.slab.top, palette, theme, 1)

    def _paint_levels(self, frame: Frame, rows: pl.DataFrame) -> None:
        look, s = frame.look, frame.look.session
        last = data.last_tick(s, frame.now_ns)
        colors = css_variables(THEMES[self.state.theme])
        self.levels.param.update(items=known_items(s, look.level_id, frame.t, last), value=look.level_id, colors=colors)
        self.layer_chips.param.update(value=self.state.layer, colors=colors)

    def _paint_track(self, frame: Frame, rows: pl.DataFrame) -> None:
        s, t = frame.look.session, frame.t
        found = past.touches(s, frame.look.level_id)
        passed = [int(x) for x in found[found < t]]
        key = (s, frame.look.level_id, t // TRACK_EVERY_S, len(passed))
        if key == self._track_key:
            return
        self._track_key = key
        points = [i for i in range(0, t, TRACK_EVERY_S) if s.ladder.last_tick[i] != NO_TICK]
        first = -(-s.ladder.start_ns // (1800 * NS)) * 1800 * NS
        hours = [[(h - s.ladder.start_ns) // NS, axes.clock(h, seconds=False)] for h in range(first, s.ladder.end_ns, 1800 * NS)]
        self.deck.track = {
            "seconds": s.ladder.seconds, "x": points, "y": [int(s.ladder.last_tick[i]) for i in points], "touches": passed, "hours": hours,
        }  # fmt: skip
