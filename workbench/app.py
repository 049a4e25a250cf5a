"""The page: ``panel serve workbench/app.py`` (or ``spymaster serve``). The lake is ``SPYMASTER_LAKE``, else ``lake``."""

from __future__ import annotations

import os
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import panel as pn
from panel.reactive import Syncable

from engine.errors import EngineError
from workbench import data, views, warm
from workbench.state import LevelState
from workbench.views.controls import Bar, session_pickers
from workbench.views.form import Form, field
from workbench.views.style import PANE_CSS, page_css

# Panel waits 50 ms before it hands a change on, a third of the time in which the picture shall have followed. 2 ms still
# gather the changes of one act, and those that queue up behind a repaint.
Syncable._debounce = 2

for _module in iter_modules(views.__path__):
    import_module(f"workbench.views.{_module.name}")


def build(query: dict[str, str]) -> pn.Column:
    """The page for one tab, its state taken from the URL's `query`."""
    root = os.environ.get("SPYMASTER_LAKE", "lake")
    state = LevelState()
    complaints: list[str] = []
    try:
        there = data.contracts(root)
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
    level = views.VIEWS["level"].cls(root, state, complaints)
    bar = Bar(light=state.theme == "light")
    # What the drawer holds is made when it is opened: the first picture does not wait for it.
    box = pn.Column(visible=False, width=300, margin=0, css_classes=["sm-drawer"], styles=DRAWER, sizing_mode="stretch_height")

    def open_drawer(event: Any) -> None:
        if event.new and not box.objects:
            box.extend(level.controls())
        box.visible = event.new

    bar.param.watch(open_drawer, "drawer")
    bar.param.watch(lambda e: state.param.update(theme="light" if e.new else "dark"), "light")
    menu = Form(row=True, margin=0).bind(bar, [field(bar, "drawer", "Drawer: window, buckets, colours, keys", kind="toggle", icon="☰")])
    light = Form(row=True, margin=0).bind(bar, [field(bar, "light", "Light or dark theme", kind="toggle", icon="◐")])
    brand = pn.pane.HTML("<span class='sm-brand'>spymaster</span>", margin=(6, 14, 0, 10), stylesheets=[PANE_CSS])
    header = pn.Row(
        menu, brand, session_pickers(state), pn.Spacer(sizing_mode="stretch_width"), level.words.when, light,
        margin=0, sizing_mode="stretch_width", styles=HEADER,
    )  # fmt: skip
    pn.state.onload(level.start)
    return pn.Column(header, pn.Row(box, level, margin=0, sizing_mode="stretch_both"), margin=0, sizing_mode="stretch_both", styles=PAGE)


PAGE = {"height": "100vh", "width": "100vw", "overflow": "hidden", "background": "var(--sm-page)"}
HEADER = {
    "background": "var(--sm-panel)", "border-bottom": "1px solid var(--sm-edge)", "padding": "4px 10px", "align-items": "center",
    "flex": "0 0 46px", "box-sizing": "border-box",
}  # fmt: skip
DRAWER = {"background": "var(--sm-panel)", "border-right": "1px solid var(--sm-edge)", "padding": "6px 14px", "overflow-y": "auto",
          "box-sizing": "border-box", "flex": "0 0 300px"}  # fmt: skip


def query_of_request() -> dict[str, str]:
    """The URL's parameters of the tab that is being made."""
    return {k: v[-1].decode() for k, v in (pn.state.session_args or {}).items()} if pn.state.curdoc else {}


if pn.state.served or __name__.startswith("bokeh_app"):
    pn.extension(raw_css=[page_css()])
    context = pn.state.curdoc.session_context if pn.state.curdoc is not None else None
    if context is not None and context.server_context is None:
        # `--warm` runs the page once without a visitor, before the server answers.
        warm.up(os.environ.get("SPYMASTER_LAKE", "lake"))
    else:
        pn.state.onload(warm.settle)
    build(query_of_request()).servable(title="spymaster")
