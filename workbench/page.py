"""The page around the views: tabs, drawer, theme, the URL; a view is made when it is first opened."""

from __future__ import annotations

import datetime as dt
import logging
from contextlib import suppress
from html import escape
from typing import Any
from urllib.parse import urlencode

import panel as pn
from param.parameterized import discard_events

from engine.errors import EngineError, defect_text
from engine.lake.trust import trust_record, trust_words
from workbench import lakes, views
from workbench.state import LevelState
from workbench.views.components import PANE_CSS, Connection, Form, Tabs, input_for, layout, trust_chip
from workbench.views.controls import Bar, KeysHelp, session_pickers

log = logging.getLogger("spymaster")

URL_AFTER_MS = 250

MOST_COMPLAINTS = 20
"""Defects of a timer may differ each time by a word."""


class Shell:
    """One tab's page. `state.view` is the view in front."""

    def __init__(self, root: str, state: LevelState, complaints: list[str]) -> None:
        self.root, self.state, self.complaints = root, state, complaints
        self.made: dict[str, Any] = {}
        self._bodies: dict[str, Any] = {}
        self._controls: dict[str, list[Any]] = {}
        self._url_timer: Any = None
        self._started = False
        self.stage = pn.Column(css_classes=["sm-stage"], sizing_mode="stretch_both", margin=0)
        self.side = pn.Row(margin=0)
        self._trusted: tuple[object, dict[str, Any] | None] = (), None
        self.trust = pn.pane.HTML(margin=(4, 0, 0, 8), stylesheets=[PANE_CSS])
        # Its content is made when it is opened: the first picture does not wait for it.
        self.box = pn.Column(visible=False, width=300, margin=0, sizing_mode="stretch_height", **layout("sm-drawer"))
        self.bar = Bar(light=state.theme == "light")
        self.help = KeysHelp(margin=0)
        self.help.of_view(state.view)
        tabs = [{"id": v.key, "label": v.title} for v in views.in_order()]
        self.tabs = Tabs(items=tabs, value=state.view, theme=state.theme, margin=(0, 10, 0, 0))
        # Watched before any view is made: they shall find a session that the contract has.
        state.param.watch(self._on_contract, "contract")
        self._show_trust()
        state.param.watch(self._on_moment, ["contract", "session", "cursor_ts_ns", "view"])
        self._bring()
        self.bar.param.watch(lambda e: self._open_drawer(), "drawer")
        self.bar.param.watch(lambda e: state.param.update(theme="light" if e.new else "dark"), "light")
        self.tabs.param.watch(lambda e: state.param.update(view=e.new), "value")
        state.param.watch(self._on_view, "view")
        state.param.watch(lambda e: self.tabs.param.update(theme=e.new), "theme")
        state.param.watch(lambda *_: self._write_url(), [p for p in state.param if p != "name"])

    @property
    def view(self) -> Any:
        """The view in front."""
        return self.made[self.state.view]

    def page(self) -> pn.Column:
        """Everything, laid out."""
        words = {"drawer": ("Drawer: window, buckets, colours, keys", "☰"), "light": ("Light or dark theme", "◐")}
        menu, light = (
            Form(row=True, margin=0).bind(self.bar, [input_for(self.bar, name, text, kind="toggle", icon=icon)])
            for name, (text, icon) in words.items()
        )
        brand = pn.pane.HTML("<span class='sm-brand'>spymaster</span>", margin=(6, 10, 0, 10), stylesheets=[PANE_CSS])
        header = pn.Row(
            menu, brand, self.tabs, session_pickers(self.state), self.trust, pn.Spacer(sizing_mode="stretch_width"), self.side, light,
            margin=0, sizing_mode="stretch_width", **layout("sm-header"),
        )  # fmt: skip
        # A window with one panel is one of the Level view.
        header.visible = not self.state.panel or self.state.view != "level"
        body = pn.Row(self.box, self.stage, margin=0, sizing_mode="stretch_both")
        return pn.Column(header, body, Connection(margin=0), self.help, margin=0, sizing_mode="stretch_both", **layout("sm-frame"))

    def start(self) -> None:
        """Let the view in front draw; called once the page is laid out."""
        self._started = True
        self.view.start()
        self._show_trust()
        self._write_url()

    def report(self, error: BaseException) -> None:
        """Say what went wrong where nothing else has: the page stays, and the traceback is in the log."""
        log.error("a defect of the page", exc_info=error)
        said = str(error) if isinstance(error, EngineError) else defect_text(error, f"the page's view {self.state.view}")
        if said not in self.complaints:
            self.complaints.append(said)
            del self.complaints[:-MOST_COMPLAINTS]
        made = self.made.get(self.state.view)
        if made is not None:
            made.notices.show()
        elif not self.stage.objects:
            self.stage.append(pn.pane.Alert(escape(said), alert_type="danger", margin=20))

    def _bring(self) -> bool:
        """Put the view in front; whether it was made for that."""
        key = self.state.view
        new = key not in self.made
        if new:
            made = self.made[key] = views.VIEWS[key].cls(self.root, self.state, self.complaints)
            self._bodies[key] = made.__panel__()
            self.stage.append(self._bodies[key])
            if made.header is not None:
                self.side.append(made.header)
        for k, body in self._bodies.items():
            body.visible = k == key
            if (head := self.made[k].header) is not None:
                head.visible = k == key
        return new

    def _on_contract(self, event: Any) -> None:
        dates = lakes.contracts(self.root).get(event.new, [])
        self.state.param["session"].objects = dates
        if self.state.session not in dates:
            with discard_events(self.state):
                self.state.session = dates[0] if dates else None

    def _on_moment(self, *_: Any) -> None:
        self._show_trust()
        # A view brings the moment into another session silently, and after this.
        if pn.state.curdoc is not None:
            pn.state.curdoc.add_next_tick_callback(self._show_trust)

    def _show_trust(self) -> None:
        """How far the book of the session is known, up to the moment that is looked at: what comes after it is not in the browser."""
        st, said = self.state, ""
        # A session that cannot be read is named by the view that wants it. The view with the clock has a moment once it is drawn.
        with suppress(EngineError):
            if st.contract is not None and st.session is not None and (st.cursor_ts_ns is not None or st.view != "level"):
                date, of = dt.date.fromisoformat(st.session), (st.contract, st.session)
                if self._trusted[0] != of:
                    self._trusted = of, trust_record(lakes.open_lake(self.root), st.contract, date)
                record, now = self._trusted[1], st.cursor_ts_ns
                # The moment of another session says nothing of this one.
                if record is None or now is None or record["session"][0] <= now <= record["session"][1]:
                    said = trust_chip(trust_words(record, date, until_ns=now))
        if self.trust.object != said:
            self.trust.object = said

    def _on_view(self, event: Any) -> None:
        with pn.io.hold():
            left = self.made.get(event.old)
            if left is not None:
                left.front(False)
            self.tabs.value = event.new
            self.help.of_view(event.new)
            new = self._bring()
            self._open_drawer()
        if new and self._started:
            # The empty page of the new view first: what it reads may take a moment, and the tab answers at once.
            if pn.state.curdoc is not None:
                pn.state.curdoc.add_next_tick_callback(self.view.start)
            else:
                self.view.start()
        elif not new:
            self.view.front(True)

    def _open_drawer(self) -> None:
        key = self.state.view
        if self.bar.drawer:
            if key not in self._controls:
                self._controls[key] = self.view.controls()
            if list(self.box.objects) != self._controls[key]:
                self.box.objects = self._controls[key]
        self.box.visible = self.bar.drawer

    def _write_url(self) -> None:
        """Put the state into the URL once nothing has changed for a moment: the browser's bookkeeping of it would delay the picture."""
        doc = pn.state.curdoc
        if doc is None or pn.state.location is None:
            return
        if self._url_timer is not None:
            doc.remove_timeout_callback(self._url_timer)
        self._url_timer = doc.add_timeout_callback(self._write_url_now, URL_AFTER_MS)

    def _write_url_now(self) -> None:
        self._url_timer = None
        if pn.state.location is not None:
            pn.state.location.search = "?" + urlencode(self.state.query(), safe=":")
