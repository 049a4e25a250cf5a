"""The page, as `spymaster serve` serves it (``python -m workbench serve workbench/app.py``). The lake is ``SPYMASTER_LAKE``, else ``lake``.

``panel serve workbench/app.py --warm`` is guarded by `workbench.access`, too. Without ``--warm`` this file is first run by a visitor, and
until then nothing guards the server: such a server shows no page.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from html import escape

import panel as pn

from engine.errors import EngineError, defect_text
from workbench import access, bokeh_server, lakes, live, prefetch, views
from workbench.assets import page_until_drawn
from workbench.page import Shell
from workbench.state import LevelState
from workbench.views.components import page_css

bokeh_server.send_at_once()


log = logging.getLogger("spymaster")


def page() -> pn.viewable.Viewable:
    """The page for one tab, its state taken from the URL; a sentence where it cannot be made, never nothing."""
    try:
        return build(query_of_request())
    except Exception as e:
        log.exception("the page could not be made")
        return pn.pane.Alert(escape(defect_text(e, "the page")), alert_type="danger", margin=20)


def build(query: dict[str, str]) -> pn.Column:
    """The page for one tab."""
    root = os.environ.get("SPYMASTER_LAKE", "lake")
    state = LevelState()
    state.param["view"].objects = [v.key for v in views.in_order()]
    complaints: list[str] = []
    try:
        there = lakes.contracts(root)
        state.awaits = not query.keys() & {"t", "panel"} and live.awaited(root) is not None
    except EngineError as e:
        there = {}
        complaints.append(str(e))
    if there:
        state.param["contract"].objects = list(there)
        state.contract = next(iter(there))
        wanted = query.get("contract", state.contract)
        state.param["session"].objects = there.get(wanted, there[state.contract])
        state.session = state.param["session"].objects[0]
    complaints += state.read_query(query)
    shell = Shell(root, state, complaints)
    if pn.state.curdoc is not None:
        pn.config.exception_handler = reporter(shell)
    pn.state.onload(shell.start)
    return shell.page()


def reporter(shell: Shell) -> Callable[[BaseException], None]:
    """`shell.report`, for as long as its page is there.

    Panel keeps it by document, in a mapping that holds what it has: a value that leads to the document would keep every closed page.
    """
    report = weakref.WeakMethod(shell.report)

    def told(error: BaseException) -> None:
        found = report()
        if found is None:
            log.error("a defect of a page that is closed", exc_info=error)
        else:
            found(error)

    return told


def query_of_request() -> dict[str, str]:
    """The URL's parameters of the tab that is being made."""
    return {k: v[-1].decode(errors="replace") for k, v in (pn.state.session_args or {}).items()} if pn.state.curdoc else {}


UNGUARDED = "This server was started without a guard against other pages in your browser: stop it, and start it by `spymaster serve`."

if pn.state.served or __name__.startswith("bokeh_app"):
    pn.extension(raw_css=[page_css()])
    context = pn.state.curdoc.session_context if pn.state.curdoc is not None else None
    if context is not None and context.server_context is None:
        # `--warm` runs the page once without a visitor, before the server answers.
        access.install_from_environment()
        prefetch.prefetch_newest_session(os.environ.get("SPYMASTER_LAKE", "lake"))
    else:
        pn.state.onload(prefetch.freeze_garbage_collector)
    if pn.state.curdoc is not None:
        pn.state.curdoc.template = page_until_drawn()
    if context is None or context.server_context is None or access.installed():
        page().servable(title="spymaster")
    else:
        pn.pane.Alert(UNGUARDED, alert_type="danger").servable(title="spymaster")
