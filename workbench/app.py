"""The page: ``panel serve workbench/app.py`` (or ``spymaster serve``). The lake is ``SPYMASTER_LAKE``, else ``lake``."""

from __future__ import annotations

import os
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel.reactive import Syncable

from engine.errors import EngineError
from workbench import data, views
from workbench.state import LevelState
from workbench.theme import DARK, FONT, LIGHT, Theme
from workbench.views.controls import session_pickers
from workbench.views.style import page_css

# Panel waits 50 ms before it hands a change on, a third of the time in which the picture shall have followed. 10 ms still
# gather the changes of one act, and those that queue up behind a repaint.
Syncable._debounce = 10

for _module in iter_modules(views.__path__):
    import_module(f"workbench.views.{_module.name}")


def build(query: dict[str, str]) -> pmui.Page:
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
    spec = views.VIEWS["level"]
    level = spec.cls(root, state, complaints)
    # The drawer's dozen widgets cost a third of the page's making; they are made when it is opened.
    box = pn.Column(margin=0, sizing_mode="stretch_width")
    page = pmui.Page(
        title="spymaster",
        header=[*session_pickers(state), pn.Spacer(sizing_mode="stretch_width"), level.when],
        sidebar=[box],
        sidebar_open=False,
        sidebar_variant="persistent",
        sidebar_width=310,
        busy_indicator=None,
        main=[level],
        dark_theme=state.theme == "dark",
        theme_config={
            "light": _material(LIGHT),
            "dark": _material(DARK),
        },
    )

    def open_drawer(event: Any) -> None:
        if not box.objects:
            box.extend(level.controls())

    page.param.watch(open_drawer, "sidebar_open")
    # The page follows "busy" even without an indicator: two more messages and two layouts of the whole page for every key pressed.
    page.param.update(busy=False)
    page.param.watch(lambda e: state.param.update(theme="dark" if e.new else "light"), "dark_theme")
    pn.state.onload(level.start)
    return page


def _material(theme: Theme) -> dict[str, Any]:
    """The theme in Material's words: a flat, low header that leaves the height to the picture."""
    bar = {"backgroundColor": theme.panel, "backgroundImage": "none", "color": theme.text, "boxShadow": "none"}
    inside = {
        "& .MuiTypography-root, & .MuiInputBase-root, & .MuiSvgIcon-root, & .MuiInputLabel-root, & .MuiSelect-select": {
            "color": f"{theme.text} !important"
        }
    }
    return {
        "palette": {
            "primary": {"main": theme.long},
            "background": {"default": theme.page, "paper": theme.panel},
            "text": {"primary": theme.text, "secondary": theme.muted},
        },
        "typography": {"fontFamily": FONT},
        "components": {
            "MuiAppBar": {"styleOverrides": {"root": {**bar, **inside, "borderBottom": f"1px solid {theme.edge}"}, "colorPrimary": bar}},
            "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "46px !important"}}},
        },
    }


def query_of_request() -> dict[str, str]:
    """The URL's parameters of the tab that is being made."""
    return {k: v[-1].decode() for k, v in (pn.state.session_args or {}).items()} if pn.state.curdoc else {}


if pn.state.served or __name__.startswith("bokeh_app"):
    pn.extension(raw_css=[page_css()])
    build(query_of_request()).servable()
