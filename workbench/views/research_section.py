"""What the sections of the Research view have in common: their panes, what they ask for, and what is said while they wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, ClassVar

import panel as pn
import param
import polars as pl

from engine.errors import NoData
from workbench.export import Table
from workbench.plots.tables import CSS
from workbench.research.asked import Progress, market
from workbench.state import LevelState
from workbench.theme import THEMES, Theme
from workbench.views import notices
from workbench.views.form import Form
from workbench.views.style import PANE_CSS

FILL: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}


def html(text: str = "", **more: Any) -> pn.pane.HTML:
    """A pane of text in the page's type."""
    return pn.pane.HTML(text, stylesheets=[PANE_CSS, CSS], **{**FILL, **more})


def figure_pane(fig: Any, **more: Any) -> pn.pane.Bokeh:
    """A pane that takes the width it gets."""
    return pn.pane.Bokeh(fig, **{**FILL, **more})


@dataclass(frozen=True)
class Asked:
    """What was chosen when a question was asked: its answer is of that, whatever has been chosen since."""

    horizon: str
    contract: str | None
    session: str | None
    level: str
    cursor_ts_ns: int | None
    window_s: int
    choice: Mapping[str, Any] = field(default_factory=dict)


class Section:
    """One section: `work` asks (in a thread), `paint` shows the answer.

    Subclasses set `key`, `title`, `needs` (parameters of the tab's state that another answer depends on), build `content`, and
    keep what they choose among in `choice`. `refuse` says above the page why something typed in was not taken, and takes that back
    where it is called with nothing.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    missing: ClassVar[str]
    """Heading of the card where there is nothing to show."""
    needs: ClassVar[frozenset[str]] = frozenset()
    asks: ClassVar[frozenset[str]] = frozenset()
    """Parameters of `choice` whose change asks for another answer; the others only paint the one that is there."""

    choice: param.Parameterized | None = None

    def __init__(self, root: str, state: LevelState, refuse: Callable[[str], None]) -> None:
        self.root, self.state, self.refuse = root, state, refuse
        self.answer: Any = None
        self.asked: Asked | None = None
        """What `answer` is of."""
        self.simulated = False
        self.say = html(notices.sentence(f"{self.title}: reading"))
        self.card = html(visible=False)
        self.forms: list[Form] = []
        self.content = pn.Column(visible=False, styles={"gap": "14px"}, **FILL)
        self.build()
        asked = [pn.Row(*self.forms, margin=(2, 0, 6, 0), sizing_mode="stretch_width", styles={"gap": "18px"})] if self.forms else []
        self.body = pn.Column(
            self.say, *asked, self.card, self.content, visible=False, styles={"gap": "6px", "padding-bottom": "24px"}, **FILL,
        )  # fmt: skip

    @property
    def theme(self) -> Theme:
        """The page's theme."""
        return THEMES[self.state.theme]

    def build(self) -> None:
        """Make `forms`, and fill `content`."""
        raise NotImplementedError

    def asking(self) -> Asked:
        """What is chosen now."""
        st = self.state
        choice = {n: getattr(self.choice, n) for n in sorted(self.asks)}
        return Asked(st.horizon, st.contract, st.session, st.level, st.cursor_ts_ns, st.window_s, choice)

    def work(self, asked: Asked, progress: Progress) -> Any:
        """Ask for what the section shows; runs in a thread and touches nothing of the page."""
        raise NotImplementedError

    def paint(self, answer: Any, asked: Asked) -> None:
        """Show `answer`, in words that are of what was `asked`."""
        raise NotImplementedError

    def dress(self) -> None:
        """Put the page's theme on the figures; `paint` follows where there is an answer."""
        raise NotImplementedError

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """What can be saved: key -> (label, frame; None before there is an answer)."""
        raise NotImplementedError

    def show(self, answer: Any, asked: Asked) -> None:
        """Keep and paint the answer to what was `asked`."""
        self.answer, self.asked = answer, asked
        self.card.visible = False
        self.paint(answer, asked)
        self.content.visible = True

    def again(self) -> None:
        """Paint the answer that is there, if one is."""
        if self.answer is not None and self.asked is not None:
            self.paint(self.answer, self.asked)

    def fail(self, message: str) -> None:
        """Say in the middle of the page what is missing, and the command that makes it."""
        self.answer = self.asked = None
        self.content.visible = False
        self.say.object = notices.sentence(f"{self.title}: nothing to show yet")
        self.card.object = f"<div class='sm-card' role='alert'><h2>{escape(self.missing)}</h2><p>{notices.rich(message)}</p></div>"
        self.card.visible = True

    def exports(self) -> list[Table]:
        """`tables` as things to save."""
        return [Table(key, f"{self.title}: {label}", lambda k=key: self._export(k)) for key, (label, _) in self.tables().items()]  # type: ignore[misc]

    def _export(self, key: str) -> tuple[pl.DataFrame, Mapping[str, Any]]:
        _, frame = self.tables()[key]
        if frame is None or self.asked is None:
            raise NoData(f"{self.title}: nothing is shown yet; open it first")
        horizon = {"horizon": self.asked.horizon} if "horizon" in self.needs else {}
        of = {"lake": self.root, "market": market(self.asked.contract), **horizon, "simulated": self.simulated}
        return frame, {**of, **self.facts(self.asked)}

    def facts(self, asked: Asked) -> dict[str, Any]:
        """What else a saved table is of."""
        return {}


def progress_html(done: int, of: int, what: str) -> str:
    """How far it has come."""
    share = f"{100 * done / of:.0f}%" if of else "100%"
    words = f"{what} ({done} of {of})" if of else what
    bar = f"<div class='sm-bar' style='width:{share};background:var(--sm-long)'></div>"
    return f"<div role='status' style='font:14px var(--sm-font);color:var(--sm-muted);padding:4px 0'>Working: {escape(words)}{bar}</div>"
