"""The blind drill beside a replay: a touch is played up to its moment, the trader calls it, then the outcome is shown and scored."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import panel as pn

from engine.errors import EngineError
from engine.vocab import NS
from workbench import data, similar
from workbench.plots import axes
from workbench.state import HORIZON_WORDS, LevelState
from workbench.views import drill_book as book
from workbench.views.form import Form
from workbench.views.later import Later
from workbench.views.notices import rich
from workbench.views.style import PANE_CSS

log = logging.getLogger(__name__)

LEAD_S = 90
"""A question starts so long before its touch."""

DRILL_CSS = (
    PANE_CSS
    + """
.drill { display: flex; gap: 22px; align-items: baseline; flex-wrap: wrap; font-size: 14px; padding: 6px 2px; }
.drill b { color: var(--sm-level); } .drill .n { font-family: var(--sm-mono); } .drill .muted { color: var(--sm-muted); }
"""
)

ASK = [{"name": "call", "kind": "group", "label": "Your call", "options": ["Reject (r)", "Chop (c)", "Break (b)"]}]
NEXT = [{"name": "next", "kind": "group", "label": "Drill", "options": ["Next touch", "Close the drill"]}]


class Drill:
    """Questions, calls and their scores; `go` takes the replay to a question, `limit` is told how far it may play."""

    def __init__(self, root: str, state: LevelState, limit: Callable[[int | None], None], close: Callable[[], None]) -> None:
        self.root, self.state, self._limit, self._close = root, state, limit, close
        self.question: book.Question | None = None
        self.called: str = ""
        self.rng = random.Random()
        self._later = Later(lambda done, of, what: None)
        self._again = False
        self.say = pn.pane.HTML("", margin=0, stylesheets=[DRILL_CSS])
        self.form = Form(row=True, margin=(4, 14, 4, 0), fields=[])
        self.form.param.watch(lambda e: self._on_form(e.new), "changed")
        self.panel = pn.Row(self.form, self.say, margin=0, sizing_mode="stretch_width")

    def start(self) -> None:
        """Ask the next question; where there is none, say what makes some."""
        self.question, self.called = None, ""
        self._limit(None)
        self.form.param.update(fields=NEXT, values={})
        self._tell("<span class='muted'>looking for touches …</span>")
        horizon = self.state.horizon
        # Beside the page's loop: the first time it reads every session's gold.
        self._later.start(lambda _: book.questions(self.root, horizon), self._ask, self._nothing)

    def front(self, on: bool) -> None:
        """Hidden, no question is asked: it would take the view in front to another session. Back again, it is."""
        if not on and self.question is None and self._later.busy:
            self._later.stop()
            self._again = True
        elif on and self._again:
            self._again = False
            self.start()

    def opened(self, symbol: str, session_date: str) -> None:
        """A session was opened, with no limit: that of the question holds in its own; another one shows, and the question is dropped."""
        q = self.question
        if q is None or self.called:
            return
        if (q.symbol, q.session_date) == (symbol, session_date):
            self._limit(-(-q.touch_ts_ns // NS) * NS)
            return
        self.question = None
        self.form.param.update(fields=NEXT, values={})
        self._tell(f"<span>Another session was opened; the question is dropped, and not counted.</span>{self._scores()}")

    def _nothing(self, error: EngineError) -> None:
        self._tell(f"<span>The drill asks about touches with a known outcome, and this lake has none: {rich(str(error))}</span>")

    def _ask(self, found: list[book.Question]) -> None:
        done = {r["trigger_id"] for r in book.read(Path(self.root)) if r.get("kind") == "call"}
        there = data.contracts(self.root)
        q = book.choose([q for q in found if q.session_date in there.get(q.symbol, ())], done, self.rng)
        if q is None:
            self._tell(f"<span>All {len(found)} touches of this lake are called.</span>" + self._scores())
            return
        self.question = q
        self.state.param["session"].objects = there[q.symbol]
        self.state.param.update(
            contract=q.symbol, session=q.session_date, level=q.level_id, cursor_ts_ns=(q.touch_ts_ns // NS - LEAD_S) * NS
        )
        self._limit(-(-q.touch_ts_ns // NS) * NS)
        self.form.param.update(fields=ASK, values={})
        way = "below" if q.approach == "approach_up" else "above"
        self._tell(
            f"<span><b>{escape(data.level_title(q.level_id))}</b>, touched from {way} in {LEAD_S} s. Play up to the touch, then call what "
            f"follows within {self._minutes(q)} min of it: through it, back from it, or neither.</span>" + self._scores()
        )

    def _minutes(self, q: book.Question) -> str:
        words = next((w for w, k in HORIZON_WORDS.items() if k == q.horizon), q.horizon)
        return words.removesuffix(" min")

    def call(self, what: str) -> None:
        """Take the trader's call, keep it, and reveal."""
        q = self.question
        if q is None or self.called or what not in book.CLASSES:
            return
        book.append(
            Path(self.root), "call",
            {"trigger_id": q.trigger_id, "horizon": q.horizon, "call": what, "outcome": q.outcome, "called_ts_ns": time.time_ns()},
        )  # fmt: skip
        self.called = what
        self._limit(None)
        self.form.param.update(fields=NEXT, values={})
        self._reveal("<span class='muted'>asking the neighbours …</span>")
        self._later.start(
            lambda _: self._forecast(q), self._reveal, lambda e: self._reveal(f"<span class='muted'>No forecast: {rich(str(e))}</span>")
        )

    def _forecast(self, q: book.Question) -> str:
        """What similar setups of earlier sessions said, kept in the book; in a process of its own, since it fits a model."""
        try:
            row = similar.forecast_aside(self.root, q.trigger_id, q.horizon)
        except EngineError:
            raise
        except Exception as e:
            # A defect: said here, and logged by the server, instead of a question that is never answered.
            log.exception("drill: forecast of %s", q.trigger_id)
            return f"<span class='muted'>No forecast: {escape(type(e).__name__)}: {escape(str(e))}; the server's log says where</span>"
        shares = {f"{p}_{c}": row.get(f"{p}_{c}") for p in ("p", "pi") for c in book.CLASSES}
        record = {k: float(v) for k, v in shares.items() if v is not None and v == v}
        book.append(Path(self.root), "forecast", {"trigger_id": q.trigger_id, "horizon": q.horizon, **record})
        return self._said(record, str(row.get("reason") or "") if row.get("nothing_comparable") else "")

    def _said(self, record: dict[str, float], nothing: str) -> str:
        parts = []
        for title, prefix in (("neighbours", "p"), ("usual here", "pi")):
            shares = [record.get(f"{prefix}_{c}") for c in book.CLASSES]
            if all(v is not None for v in shares):
                text = ", ".join(f"{c} {100 * v:.0f}%" for c, v in zip(book.CLASSES, shares) if v is not None)
                parts.append(f"<span>{title}: <span class='n'>{text}</span></span>")
        if nothing:
            parts.append(f"<span class='muted'>nothing comparable: {escape(nothing)}</span>")
        return "".join(parts) or "<span class='muted'>No forecast</span>"

    def _reveal(self, forecast: str) -> None:
        q = self.question
        assert q is not None
        verdict = "right" if self.called == q.outcome else "wrong"
        self._tell(
            f"<span>You called <b>{self.called}</b>; it was <b>{q.outcome}</b> within {self._minutes(q)} min: {verdict}. "
            f"Play on to see it ({axes.clock(q.touch_ts_ns)} on).</span>{forecast}{self._scores()}"
        )

    def _scores(self) -> str:
        out = [f"{s.who} {s.right} of {s.n}, score {s.score:.2f}" for s in book.scores(book.read(Path(self.root))) if s.n]
        text = " · ".join(out) + " (0 is perfect)" if out else "no call yet"
        return f"<span class='muted n'>{text}</span>"

    def _tell(self, html: str) -> None:
        self.say.object = f"<div class='drill' role='status' aria-live='polite'>{html}</div>"

    def _on_form(self, change: dict[str, Any]) -> None:
        self.form.answered = int(change["n"])
        if change["name"] == "call":
            self.call(book.CLASSES[int(change["value"])])
        elif int(change["value"]) == 0:
            self.start()
        else:
            self._later.stop()
            self.question = None
            self._limit(None)
            self._close()
