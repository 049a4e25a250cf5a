"""What the Level view says of a frame, slower than its figures paint: decision bar, sentence, conditions, levels, time, legend, and the
path of the session so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import polars as pl

from engine.ladder import NO_TICK
from engine.vocab import NS
from workbench import queries
from workbench.plots import axes, decision
from workbench.plots.heatmap import legend_html
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import components, known
from workbench.views.background import BackgroundTask
from workbench.views.components import FILL, Chips, layer_chips
from workbench.views.known import Frame
from workbench.views.nearest import Nearest
from workbench.views.outcomes import Outcomes
from workbench.views.said import Said
from workbench.views.viewport import Viewport

TRACK_EVERY_S = 20
"""The scrubber's path has a point for so many seconds."""


class Record:
    """What followed as many open conditions before the session (Research's counts), asked once for each session and horizon."""

    def __init__(self, root: str, state: LevelState) -> None:
        self.root, self.state = root, state
        self._later = BackgroundTask(lambda *_: None)
        self._asked: tuple[Any, ...] = ()
        self._counts: pl.DataFrame | None = None

    def _key(self, look: Viewport) -> tuple[Any, ...]:
        return look.session.symbol, look.session.date, self.state.horizon, look.session.stamp

    def follow(self, look: Viewport, done: Callable[[], object]) -> None:
        """Ask for the session looked at; `done` is called when there is an answer. A lake without gold has none, and nothing is said."""
        key = self._key(look)
        if key == self._asked:
            return
        self._asked, self._counts = key, None
        symbol, date, horizon = key[:3]

        def take(found: pl.DataFrame) -> None:
            self._counts = found
            done()

        self._later.start(lambda _: queries.open_counts(self.root, symbol, date, horizon), take, lambda _: None)

    def words(self, look: Viewport) -> dict[str, str]:
        """By direction, for the conditions that are open in the last window; empty while it is not known."""
        if self._counts is None or self._key(look) != self._asked or not look.known:
            return {}
        return decision.open_words(self._counts, look.row())


class Words:
    """What is said of a frame, slower than the figures: decision bar, sentence, conditions, levels, time, legend, the scrubber's path."""

    def __init__(self, state: LevelState, outcomes: Outcomes) -> None:
        self.state, self.outcomes, self.record = state, outcomes, Record(outcomes.root, state)
        self.decision = Said(**FILL)
        self.levels = Chips(label="Level", **FILL)
        self.say = Said(**FILL)
        self.when = Said(margin=(0, 4, 0, 12))
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14), sizing_mode="stretch_width", styles={"min-width": "0", "overflow": "hidden"})
        self.conditions = Said(**FILL)
        self.nearest = Nearest()
        self.layer_chips = layer_chips(state)
        self._track_key: tuple[Any, ...] = ()
        self._scale: tuple[Any, ...] = ()
        self._turn = 0

    def paint(self, frame: Frame, deck: Any, palette: list[str], *, all_of_it: bool) -> None:
        """Say what `frame` shows; or one part of it, another one each time: all at once would hold up a frame of a clock that plays."""
        parts: list[Callable[[], None]] = [
            lambda: self.paint_decision(frame), lambda: self._paint_levels(frame), lambda: self._paint_conditions(frame, palette),
            lambda: self._paint_track(frame, deck),
        ]  # fmt: skip
        self._turn = (self._turn + 1) % len(parts)
        for part in parts if all_of_it else [parts[self._turn]]:
            part()

    def paint_decision(self, frame: Frame) -> None:
        """The decision bar, the sentence made from the same facts, and the time."""
        look = frame.look
        stands, (verdict, waiting) = look.standing(), self.outcomes.verdict(look)
        self.decision.html = decision.decision_html(stands, verdict, waiting=waiting)
        self.say.html = components.sentence(decision.statement(stands, brief=True))
        self.nearest.show(self.outcomes.answer(look), THEMES[self.state.theme], waiting=waiting)
        self.paint_price(frame)

    def paint_price(self, frame: Frame) -> None:
        """The last price, and the time."""
        look = frame.look
        last = look.session.last_tick(look.now_ns) if frame.forming is None else frame.forming.last
        self.when.html = components.when(axes.clock(look.now_ns), last, look.session.tick_size, THEMES[self.state.theme])

    def _paint_conditions(self, frame: Frame, palette: list[str]) -> None:
        theme, slab, look = THEMES[self.state.theme], frame.slab, frame.look
        strengths = decision.condition_strengths(look.windows, look.now_ns, look.params.window_s)
        self.conditions.html = decision.strengths_html(strengths, self.record.words(look))
        scale = (slab.layer, slab.top, slab.typical, slab.pool, self.state.half_life_s, tuple(palette), theme)
        if scale != self._scale:
            self._scale = scale
            self.legend.object = legend_html(
                slab.layer, slab.top, palette, theme, 1, float(self.state.half_life_s), slab.pool, slab.typical
            )  # fmt: skip

    def _paint_levels(self, frame: Frame) -> None:
        look, s = frame.look, frame.look.session
        colors = css_variables(THEMES[self.state.theme])
        items = known.known_items(s, look.level_id, frame.t, s.last_tick(look.now_ns))
        self.levels.param.update(items=items, value=look.level_id, colors=colors)
        self.layer_chips.param.update(value=self.state.layer, colors=colors)

    def _paint_track(self, frame: Frame, deck: Any) -> None:
        s, t, half_hour = frame.look.session, frame.t, 1800 * NS
        lad = s.ladder
        found = known.marked_touches(s, frame.look.level_id)
        passed = [int(x) for x in found[found < t]]
        key = (s, frame.look.level_id, t // TRACK_EVERY_S, len(passed), frame.seen > t)
        if key == self._track_key:
            return
        self._track_key = key
        points = [i for i in range(0, t, TRACK_EVERY_S) if lad.last_tick[i] != NO_TICK]
        hours = range(-(-lad.start_ns // half_hour) * half_hour, lad.end_ns, half_hour)
        deck.track = {
            "seconds": lad.seconds, "x": points, "y": [int(lad.last_tick[i]) for i in points], "touches": passed,
            "hours": [[(h - lad.start_ns) // NS, axes.clock(h, seconds=False)] for h in hours],
        }  # fmt: skip
