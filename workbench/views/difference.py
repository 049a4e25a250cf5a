"""Under the wall of neighbours: where pressure before the touch set those that broke apart from those that rejected, on demand."""

from __future__ import annotations

from typing import Any

import panel as pn

from engine.errors import EngineError
from engine.retrieval.difference import DifferenceMap, DifferenceParams, difference_map, neighbour_pressure
from workbench import data
from workbench.plots import difference as plots
from workbench.similar import Similar
from workbench.state import LevelState
from workbench.theme import THEMES
from workbench.views import notices
from workbench.views.form import Form
from workbench.views.later import Later, Progress
from workbench.views.style import PANE_CSS

ASK, STOP, HIDE = "Compare break with reject", "Stop", "Hide"
PARAMS = DifferenceParams(step_ticks=2)
"""Two ticks a row: of some dozen neighbours a cell of one tick holds too little flow to tell."""


class Difference:
    """A button, and the map that it asks for; `body` is what is shown."""

    def __init__(self, root: str, state: LevelState) -> None:
        self.root, self.state = root, state
        self.found: Similar | None = None
        self.map: DifferenceMap | None = None
        self.later = Later(self._tell)
        self.parts = plots.difference_figure(THEMES[state.theme], height=250)
        self.parts.figure.visible = False
        self.acts = Form(row=True, margin=0, fields=[{"name": "act", "kind": "group", "label": "Difference map", "options": [ASK]}])
        self.say = pn.pane.HTML("", margin=(7, 0, 0, 12), stylesheets=[PANE_CSS], sizing_mode="stretch_width")
        self.pane = pn.pane.Bokeh(self.parts.figure, visible=False, margin=0, sizing_mode="stretch_width")
        self.body = pn.Column(
            pn.Row(self.acts, self.say, margin=(4, 0), sizing_mode="stretch_width"), self.pane, margin=0, sizing_mode="stretch_width"
        )
        self.acts.param.watch(lambda e: self._on_act(e.new), "changed")
        state.param.watch(lambda e: plots.dress_difference(self.parts, THEMES[e.new]), "theme")

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
            self.say.object = f"<div role='status' style='font:13px var(--sm-font);color:var(--sm-muted)'>{notices.rich(words)}</div>"
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
        pressure = neighbour_pressure(data.open_lake(self.root), near, PARAMS, progress)
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
