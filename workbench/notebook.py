"""The dashboard in a notebook: its views in a cell with the page's colours around them, and what its Research view counts.

Examples
--------
>>> state = state_of("lake", "ESZ5", date, level="pm_high")  # doctest: +SKIP
>>> component(LevelView("lake", state, []))  # doctest: +SKIP
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import panel as pn

from engine.errors import SessionError
from engine.lake.store import Lake
from workbench import lakes
from workbench.assets import style
from workbench.queries import hit_rates
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views.level import LevelView

__all__ = ["LevelView", "component", "hit_rates", "state_of"]


def state_of(root: str, symbol: str, date: dt.date, **values: Any) -> LevelState:
    """The state of a tab that looks at one session of the lake at `root`.

    `values` are parameters of `LevelState`: ``level, cursor_ts_ns, window_s, layer, span_min, theme, ...``.

    Raises
    ------
    SessionError
        Where the lake has no such session, with the command that makes it.
    """
    there = lakes.contracts(root)
    if date.isoformat() not in there.get(symbol, []):
        command = Lake(root).session_command(symbol, date)
        raise SessionError(f"{symbol} {date}: expected a session of the lake {root}, found none; `{command}` makes it")
    state = LevelState()
    state.param["contract"].objects = list(there)
    state.param["session"].objects = there[symbol]
    state.param.update(contract=symbol, session=date.isoformat(), **values)
    return state


def component(view: Any, *, height: int = 860) -> pn.Column:
    """A view such as ``LevelView(root, state, [])`` as a cell's output, drawn; its ``state`` changes it afterwards.

    `height` is in pixels: a cell, unlike a page, has no height of its own.
    """
    view.start()
    variables = ";".join(f"{k}:{v}" for k, v in css_variables(THEMES[view.state.theme]).items())
    return pn.Column(view, height=height, sizing_mode="stretch_width", stylesheets=[style("notebook", variables=variables)])
