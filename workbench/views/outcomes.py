"""What similar setups did after a touch, beside the Level view's picture: asked once nothing changes any more, beside the page's thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import panel as pn

from engine.errors import EngineError
from engine.session import level_title
from workbench import similar
from workbench.plots.decision import Verdict, verdict_of
from workbench.plots.outcomes import Facts, outcome_html, outcome_notice, rule_words
from workbench.similar import Question, Similar
from workbench.state import ASKED, LevelState
from workbench.theme import THEMES, Theme
from workbench.views import components
from workbench.views.background import BackgroundTask, Progress
from workbench.views.components import FILL, heading, input_for
from workbench.views.viewport import Viewport

REST_MS = 250
"""The question is asked when nothing has changed for so long."""

COMPARING = "Comparing with similar setups …"

CLASS_OF = {"BREAK_UP": "break", "BREAK_DOWN": "break", "REJECT_UP": "reject", "REJECT_DOWN": "reject", "CHOP": "chop"}
"""Outcome in gold -> class."""


def question_fields(state: LevelState) -> list[dict[str, Any]]:
    """The drawer's fields of the question."""
    return [
        heading("Similar setups"),
        input_for(state, "horizon", "Outcome within"),
        input_for(state, "mode", "Compared with"),
        input_for(state, "pool", "Setups at"),
        input_for(state, "direction", "Approach"),
    ]


def question_of(root: str, state: LevelState, look: Viewport) -> Question:
    """What is asked of the last window that had ended."""
    s, direction = look.session, None if state.direction == "price" else state.direction
    return Question(root, s.symbol, s.date, look.level_id, look.end_ns, state.mode, state.pool, state.horizon, direction)


def out_of_reach(root: str, look: Viewport) -> str:
    """Why nothing is asked: there is no level or no trade yet, or price is beyond an approach's reach; empty where it is not."""
    last = look.session.last_tick(look.now_ns)
    if not look.known:
        return f"{look.title} is not known yet."
    if last is None:
        return "Nothing has traded yet."
    reach = similar.retrieval_params(root, look.session.symbol, look.session.date).approach.max_distance_ticks
    away = abs(last - look.k_ref)
    if away <= reach:
        return ""
    return f"Price is {away} ticks away. Setups begin within {reach} ticks of the level: nothing is compared from further off."


def lack_of(found: Similar) -> str:
    """Why nothing is comparable; empty where something is."""
    f = found.forecast
    return f"{f['reason']} (n_eff {f['n_eff']:.0f}, best similarity {f['best_similarity'] or 0.0:.3f})" if f["nothing_comparable"] else ""


def outcomes_html(found: Similar, theme: Theme, **more: bool) -> str:
    """The table of outcomes as `workbench.plots.outcomes.outcome_html` makes it, with what is said around it."""
    f, q, n = found.forecast, found.question, found.answer.sessions
    where = {"all": "", "kind": ", levels of this kind", "level": ", this level and direction"}[q.pool]
    every = f"all {n} other sessions{where} (index, later ones too)"
    facts = Facts(
        level=level_title(q.level_id), approach=str(found.trigger["approach"]), horizon=q.horizon,
        whose=every if q.mode == "all" else f"walk-forward, {n} sessions before{where}",
        rule=rule_words(similar.retrieval_params(q.root, q.symbol, q.date).setups.barrier), neighbours=int(f["neighbours"]),
        days=int(f["distinct_days"]), n_eff=float(f["n_eff"]), p_touch=f["p_touch"], pi_touch=f["pi_touch"], nothing=lack_of(found),
    )  # fmt: skip
    return outcome_html(found.outcomes, facts, theme, **more)


def find_unless_stopped(question: Question, go_on: Progress) -> Similar:
    """`workbench.similar.find_in_worker`, not begun where it was given up while it waited."""
    return similar.find_in_worker(question, lambda: go_on(0, 0, ""))


class DebouncedQuery:
    """A question that is asked when the trader's changes end.

    `on_answer` is called in the page's loop with the answer to the last one and False; or with HTML that says why there is none and
    False, or that it is being asked and True. `work` finds the answer, in a thread; it has the question, what `also` gave (what else the
    answer depends on), and the progress to report to.
    """

    def __init__(
        self,
        root: str,
        on_answer: Callable[[Any, bool], None],
        *,
        work: Callable[[Question, Any, Progress], Any],
        also: Callable[[], Hashable] = lambda: None,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.root, self.on_answer, self.work, self.also = root, on_answer, work, also
        self.later = BackgroundTask(progress)
        self.asked: tuple[Question, Hashable] | None = None
        self._timer: Any = None

    def soon(self, state: LevelState, look: Callable[[], Viewport | None]) -> None:
        """Ask when nothing has changed for `REST_MS`."""
        doc = pn.state.curdoc
        if doc is None:
            return

        def rest() -> None:
            if self._timer is not None:
                doc.remove_timeout_callback(self._timer)
            self._timer = doc.add_timeout_callback(lambda: self._ask(state, look), REST_MS)

        if pn.state.loaded:
            rest()
        else:
            # An answer that comes before the page is laid out might never reach it: Panel drops what a hold gathers until then.
            pn.state.onload(rest)

    def stop(self) -> bool:
        """Nobody looks any more: what is under way is given up, to be asked again; returns whether there was something."""
        waits, doc = self._timer is not None, pn.state.curdoc
        if waits and doc is not None:
            doc.remove_timeout_callback(self._timer)
        self._timer = None
        if not self.later.busy:
            return waits
        self.later.stop()
        self.asked = None
        return True

    def _ask(self, state: LevelState, looked: Callable[[], Viewport | None]) -> None:
        self._timer = None
        try:
            look = looked()
            if look is None:
                return
            far = out_of_reach(self.root, look)
            asked = question_of(self.root, state, look), self.also()
        except EngineError as e:
            self._nothing(e)
            return
        if far:
            self._nothing(far)
        elif asked != self.asked:
            self.asked, (question, _) = asked, asked
            before = f"Comparing with the sessions before {question.date}; the first time in a session takes some seconds …"
            self.on_answer(components.rich("Asking the index …" if question.mode == "all" else before), True)
            self.later.start(lambda go_on: self.work(*asked, go_on), lambda found: self.on_answer(found, False), self._nothing)

    def _nothing(self, why: EngineError | str) -> None:
        self.asked = None
        self.later.stop()
        self.on_answer(components.rich(str(why)), False)


class Outcomes:
    """The pane, and the verdict for the decision bar; `follow` tells it what is on the screen. One that is not on the screen itself asks
    nothing. `on_change` is called when there is another answer.
    """

    def __init__(self, root: str, state: LevelState, on_change: Callable[[], object] = lambda: None) -> None:
        self.root, self.state, self.on_change = root, state, on_change
        self.pane = pn.pane.HTML("", styles={"flex": "0 0 auto", "padding": "2px 2px 0", "box-sizing": "border-box"}, **FILL)
        self.asking = DebouncedQuery(root, self._on_answer, work=lambda question, _, go_on: find_unless_stopped(question, go_on))
        self.found: Similar | str = ""
        self.look: Viewport | None = None
        self.waiting, self._active = False, True
        state.param.watch(lambda *_: self.follow(self.look), list(ASKED - {"neighbours_k"}))
        state.param.watch(lambda *_: self._paint(), "theme")

    def front(self, on: bool) -> None:
        """The pane is on the screen, or no more."""
        self._active = on
        if not on:
            self.asking.stop()

    def follow(self, look: Viewport | None) -> None:
        """The screen shows `look` now."""
        self.look = look
        if look is not None and self._active:
            self.asking.soon(self.state, lambda: self.look)

    def _on_answer(self, found: Similar | str, waiting: bool) -> None:
        if not (waiting and isinstance(self.found, Similar)):
            self.found = found
        self.waiting = waiting
        self._paint()
        self.on_change()

    def _holds(self, look: Viewport | None) -> bool:
        """Whether the last answer may be shown at `look`: it is of this level, and of nothing that came after the instant."""
        if look is None or isinstance(self.found, str):
            return False
        q = self.found.question
        return (q.symbol, q.date, q.level_id) == (look.session.symbol, look.session.date, look.level_id) and q.end_ns <= look.end_ns

    def answer(self, look: Viewport) -> Similar | None:
        """The last answer, where it may be shown at `look` and something is comparable."""
        return self.found if isinstance(self.found, Similar) and self._holds(look) else None

    def verdict(self, look: Viewport) -> tuple[Verdict | str, bool]:
        """The verdict at `look`, and whether it is of an earlier instant; in its place HTML that says why there is none."""
        found = self.found
        if isinstance(found, str):
            return found, self.waiting
        if not self._holds(look):
            return COMPARING, True
        q = found.question
        said = verdict_of(
            found.outcomes, found.forecast, horizon=q.horizon, approach=str(found.trigger["approach"]), weight=found.weight,
            nothing=lack_of(found),
        )  # fmt: skip
        return said or "No outcome within this time is known.", self.waiting or q.end_ns != look.end_ns

    def _paint(self) -> None:
        theme = THEMES[self.state.theme]
        if isinstance(self.found, str):
            html = outcome_notice(self.found, theme, waiting=self.waiting)
        elif self.waiting and not self._holds(self.look):
            html = outcome_notice(COMPARING, theme, waiting=True)
        else:
            # The last answer remains, dimmed, while the next is on its way.
            html = outcomes_html(self.found, theme, waiting=self.waiting)
        if html != self.pane.object:
            self.pane.object = html
