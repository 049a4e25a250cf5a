"""The blind drill, a mode of the Level view: a touch is played up to, the trader calls it, then its outcome is shown and scored."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import panel as pn
import polars as pl

from engine.errors import EngineError
from engine.lake.writer import append_line
from engine.session import level_title
from engine.vocab import NS
from workbench import lakes, similar
from workbench.assets import style
from workbench.plots import axes
from workbench.state import HORIZON_WORDS, LevelState
from workbench.views.background import BackgroundTask
from workbench.views.components import FILL, Form, buttons, rich
from workbench.views.outcomes import CLASS_OF

log = logging.getLogger(__name__)

LEAD_S = 90
"""A question starts so long before its touch."""

CLASSES = ("reject", "chop", "break")
"""Order of the classes, by how far price goes on: the ranked probability score needs it."""

BOOK = "calls.jsonl"

ASK = [buttons("call", "Your call", "Reject (r)", "Chop (c)", "Break (b)")]

NEXT = [buttons("next", "Drill", "Next touch", "Close the drill")]


@dataclass(frozen=True)
class Question:
    """A touch whose outcome is asked for; `outcome` is one of `CLASSES` and stays on the server until it is called."""

    trigger_id: str
    symbol: str
    session_date: str
    level_id: str
    approach: str
    touch_ts_ns: int
    horizon: str
    outcome: str


class Drill:
    """Questions, calls and their scores; `limit` is told how far the clock may go, `now` gives the instant that it stands at."""

    def __init__(
        self, root: str, state: LevelState, limit: Callable[[int | None], None], close: Callable[[], object], now: Callable[[], int]
    ) -> None:
        self.root, self.state, self._limit, self._close, self._now = root, state, limit, close, now
        self.question: Question | None = None
        self.called: str = ""
        self.rng = random.Random()
        self._later = BackgroundTask(lambda done, of, what: None)
        self._again = False
        self.say = pn.pane.HTML("", margin=0, stylesheets=[style("pane", "drill")])
        self.form = Form(row=True, margin=(4, 14, 4, 0), fields=[])
        self.form.param.watch(lambda e: self._on_form(e.new), "changed")
        self.panel = pn.Row(self.form, self.say, **FILL)

    @property
    def asking(self) -> str:
        """Date of the session whose touch is asked about; empty where no question is open."""
        return "" if self.question is None or self.called else self.question.session_date

    def start(self) -> None:
        """Ask the next question; where there is none, say what makes some."""
        self.question, self.called = None, ""
        self._limit(None)
        self._tell("<span class='muted'>looking for touches …</span>", NEXT)
        horizon = self.state.horizon
        # Beside the page's loop: the first time it reads every session's gold.
        self._later.start(lambda _: questions(self.root, horizon), self._ask, self._nothing)

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
        self._tell(f"<span>Another session was opened; the question is dropped, and not counted.</span>{self._scores()}", NEXT)

    def _nothing(self, error: EngineError) -> None:
        self._tell(f"<span>The drill asks about touches with a known outcome, and this lake has none: {rich(str(error))}</span>")

    def _ask(self, found: list[Question]) -> None:
        done = {r["trigger_id"] for r in read(Path(self.root)) if r.get("kind") == "call"}
        there = lakes.contracts(self.root)
        shown = [q for q in found if q.session_date in there.get(q.symbol, ())]
        q = choose(shown, done, self.rng)
        if q is None:
            minutes = next((w for w, k in HORIZON_WORDS.items() if k == self.state.horizon), self.state.horizon)
            if not found:
                why = f"No touch of this lake's gold has a known outcome within {minutes}: choose another time, or add sessions."
            elif not shown:
                why = f"Gold has {len(found)} touches with a known outcome, but the lake has none of their ladders any more."
            else:
                why = f"All {len(shown)} touches of this lake are called."
            self._tell(f"<span>{why}</span>" + self._scores())
            return
        self.question = q
        self.state.param["session"].objects = there[q.symbol]
        self.state.param.update(
            contract=q.symbol, session=q.session_date, level=q.level_id, cursor_ts_ns=(q.touch_ts_ns // NS - LEAD_S) * NS
        )
        self._limit(-(-q.touch_ts_ns // NS) * NS)
        way = "below" if q.approach == "approach_up" else "above"
        self._tell(
            f"<span><b>{escape(level_title(q.level_id))}</b>, touched from {way} in {LEAD_S} s. Play up to the touch, then call what "
            f"follows within {self._minutes(q)} min: through it, back from it, or neither.</span>{self._scores()}",
            ASK,
        )

    def _minutes(self, q: Question) -> str:
        words = next((w for w, k in HORIZON_WORDS.items() if k == q.horizon), q.horizon)
        return words.removesuffix(" min")

    def call(self, what: str) -> None:
        """Take the trader's call, write it into the book, and reveal the outcome."""
        q = self.question
        if q is None or self.called or what not in CLASSES:
            return
        left = -(-(q.touch_ts_ns - self._now()) // NS)
        if left > 0:
            self._tell(
                f"<span>The touch of <b>{escape(level_title(q.level_id))}</b> is {left} s away: play up to it (space), then call it.</span>"
                + self._scores()
            )
            return
        made = {"trigger_id": q.trigger_id, "horizon": q.horizon, "call": what, "outcome": q.outcome, "called_ts_ns": time.time_ns()}
        append(Path(self.root), "call", made)
        self.called = what
        self._limit(None)
        self._reveal("<span class='muted'>asking the neighbours …</span>", NEXT)
        self._later.start(
            lambda _: self._forecast(q), self._reveal, lambda e: self._reveal(f"<span class='muted'>No forecast: {rich(str(e))}</span>")
        )

    def _forecast(self, q: Question) -> str:
        """What similar setups of earlier sessions said, written into the book; in a process of its own, since it fits a model."""
        try:
            row = similar.forecast_in_worker(self.root, q.trigger_id, q.horizon)
        except EngineError:
            raise
        except Exception as e:
            # A defect: said here, and logged by the server, instead of a question that is never answered.
            log.exception("drill: forecast of %s", q.trigger_id)
            return f"<span class='muted'>No forecast: {escape(type(e).__name__)}: {escape(str(e))}; the server's log says where</span>"
        shares = {f"{p}_{c}": row.get(f"{p}_{c}") for p in ("p", "pi") for c in CLASSES}
        record = {k: float(v) for k, v in shares.items() if v is not None and v == v}
        append(Path(self.root), "forecast", {"trigger_id": q.trigger_id, "horizon": q.horizon, **record})
        parts = []
        for title, prefix in (("neighbours", "p"), ("usual here", "pi")):
            known = [f"{c} {100 * record[f'{prefix}_{c}']:.0f}%" for c in CLASSES if f"{prefix}_{c}" in record]
            if len(known) == len(CLASSES):
                parts.append(f"<span>{title}: <span class='n'>{', '.join(known)}</span></span>")
        if row.get("nothing_comparable") and row.get("reason"):
            parts.append(f"<span class='muted'>nothing comparable: {escape(str(row['reason']))}</span>")
        return "".join(parts) or "<span class='muted'>No forecast</span>"

    def _reveal(self, forecast: str, fields: list[dict[str, Any]] | None = None) -> None:
        q = self.question
        assert q is not None
        verdict = "right" if self.called == q.outcome else "wrong"
        self._tell(
            f"<span>You called <b>{self.called}</b>; it was <b>{q.outcome}</b> within {self._minutes(q)} min: {verdict}. "
            f"Play on to see it ({axes.clock(q.touch_ts_ns)} on).</span>{forecast}{self._scores()}",
            fields,
        )

    def _scores(self) -> str:
        out = [f"{s.who} {s.right} of {s.n}, score {s.score:.2f}" for s in scores(read(Path(self.root))) if s.n]
        text = " · ".join(out) + " (0 is perfect)" if out else "no call yet"
        return f"<span class='muted n'>{text}</span>"

    def _tell(self, html: str, fields: list[dict[str, Any]] | None = None) -> None:
        if fields is not None:
            self.form.param.update(fields=fields, values={})
        self.say.object = f"<div class='drill' role='status' aria-live='polite'>{html}</div>"

    def _on_form(self, change: dict[str, Any]) -> None:
        self.form.answered = int(change["n"])
        if change["name"] == "call":
            self.call(CLASSES[int(change["value"])])
        elif int(change["value"]) == 0:
            self.start()
        else:
            self._later.stop()
            self.question = None
            self._limit(None)
            self._close()


def questions(root: str, horizon: str) -> list[Question]:
    """Touches in the lake's gold whose outcome at `horizon` is known; from memory while the gold is unchanged.

    A NoData where there is no gold, with the command that makes it.
    """
    return list(_questions(root, horizon, similar.gold_stamp(root)))


@lru_cache(maxsize=4)
def _questions(root: str, horizon: str, stamp: str) -> tuple[Question, ...]:
    from engine.retrieval.dataset import VECTORS, sessions_in

    lake, outcome = lakes.open_lake(root), f"outcome_{horizon}"
    columns = ["trigger_id", "level_id", "approach", "touch_ts_ns", outcome]
    where = (pl.col("kind") == "touch") & pl.col(outcome).is_in(list(CLASS_OF)) & pl.col("touch_ts_ns").is_not_null()
    return tuple(
        Question(trigger, symbol, date.isoformat(), level, approach, touch_ns, horizon, CLASS_OF[o])
        for symbol, date in sessions_in(lake, VECTORS, None)
        for trigger, level, approach, touch_ns, o in lake.read(VECTORS, symbol, date, columns, where).select(columns).iter_rows()
    )


def choose(found: list[Question], called: set[str], rng: random.Random) -> Question | None:
    """A question that was not called before; None where all were."""
    left = [q for q in found if q.trigger_id not in called]
    return rng.choice(left) if left else None


def append(root: Path, kind: Literal["call", "forecast"], record: dict[str, Any]) -> Path:
    """Add a line to the book, whole or not at all; a LakeWriteFailed where the folder cannot be written."""
    path = root / "drills" / BOOK
    append_line(path, {"kind": kind, **record})
    return path


def read(root: Path) -> list[dict[str, Any]]:
    """The book's lines in their order, without one that a stopped writer left half."""
    path = root / "drills" / BOOK
    out = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("trigger_id"), str):
            out.append(record)
    return out


def ranked_score(shares: tuple[float, ...], outcome: str) -> float:
    """Ranked probability score of `shares` over `CLASSES` (Epstein 1969, divided by classes - 1): 0 is perfect, 1 the worst."""
    at, under = CLASSES.index(outcome), accumulate(shares[:-1])
    return sum((p - (i >= at)) ** 2 for i, p in enumerate(under)) / (len(CLASSES) - 1)


@dataclass(frozen=True)
class Score:
    """How one of the three did: `right` of `n`, and the mean ranked probability score (lower is better)."""

    who: str
    n: int
    right: int
    score: float | None


def scores(book: list[dict[str, Any]]) -> list[Score]:
    """Trader, neighbours, and what usually happens, on the touches that the trader called; one call per touch, the first."""
    calls: dict[str, dict[str, Any]] = {}
    forecasts: dict[str, dict[str, Any]] = {}
    for r in book:
        (calls if r.get("kind") == "call" else forecasts).setdefault(r["trigger_id"], r)
    made: dict[str, list[tuple[tuple[float, ...], str]]] = {"you": [], "neighbours": [], "usual": []}
    for k, r in calls.items():
        if r.get("call") not in CLASSES or r.get("outcome") not in CLASSES:
            continue
        made["you"].append((tuple(float(c == r["call"]) for c in CLASSES), r["outcome"]))
        for who, prefix in (("neighbours", "p_"), ("usual", "pi_")):
            shares = [v for c in CLASSES if isinstance(v := forecasts.get(k, {}).get(prefix + c), float)]
            if len(shares) == len(CLASSES):
                made[who].append((tuple(shares), r["outcome"]))
    out = []
    for who, pairs in made.items():
        right = sum(CLASSES[s.index(max(s))] == o for s, o in pairs)
        mean = sum(ranked_score(s, o) for s, o in pairs) / len(pairs) if pairs else None
        out.append(Score(who, len(pairs), right, mean))
    return out
