"""Which controls there are: the bar above the picture, and the drawer with everything that is not in the way of it."""

from __future__ import annotations

from typing import Any

import panel as pn
import param

from workbench.state import LevelState
from workbench.views.form import Form, field, heading
from workbench.views.style import PANE_CSS

KEYS = """<table class='sm-keys'><tr><td><kbd>1</kbd>–<kbd>5</kbd></td><td>PM High, PM Low, OR High, OR Low, VWAP</td></tr>
<tr><td><kbd>←</kbd> <kbd>→</kbd></td><td>one window; with <kbd>Shift</kbd> twelve</td></tr>
<tr><td><kbd>↑</kbd> <kbd>↓</kbd></td><td>layer of the heatmap</td></tr>
<tr><td><kbd>[</kbd> <kbd>]</kbd></td><td>previous, next approach</td></tr>
<tr><td><kbd>Home</kbd> <kbd>End</kbd></td><td>start, end of the session</td></tr></table>"""


REPLAY_KEYS = """<table class='sm-keys'><tr><td><kbd>Space</kbd></td><td>play, pause</td></tr>
<tr><td><kbd>1</kbd>–<kbd>5</kbd></td><td>PM High, PM Low, OR High, OR Low, VWAP</td></tr>
<tr><td><kbd>←</kbd> <kbd>→</kbd></td><td>one second; with <kbd>Shift</kbd> ten</td></tr>
<tr><td><kbd>[</kbd> <kbd>]</kbd></td><td>previous, next touch of the level</td></tr>
<tr><td><kbd>Home</kbd></td><td>the open</td></tr>
<tr><td><kbd>r</kbd> <kbd>c</kbd> <kbd>b</kbd></td><td>in the drill: reject, chop, break</td></tr></table>"""

STEP = "Price step of a row"


def drawer(state: LevelState, *more: dict[str, Any]) -> list[Any]:
    """What the drawer holds, in the order of use; `more` fields stand before the keys."""
    volume = field(state, "volume", "Volume profile and cumulative delta, to the cursor", kind="group")
    return _drawer(state, [volume, *more], KEYS)


def replay_drawer(state: LevelState) -> list[Any]:
    """What the Replay view's drawer holds: what its pictures show, and its own keys."""
    return _drawer(state, [], REPLAY_KEYS)


def _drawer(state: LevelState, more: list[dict[str, Any]], table: str) -> list[Any]:
    fields = [
        heading("Window and pressure"),
        field(state, "window_s", "Window, seconds"),
        field(state, "half_life_s", "Half-life of flow, seconds (0: each window alone)", max=120),
        field(state, "step", STEP, kind="group"),
        heading("Buckets: outer bounds, ticks from the level"),
        field(state, "at", "At"),
        field(state, "near", "Near", max=60),
        field(state, "mid", "Middle", max=100),
        field(state, "far", "Far", max=120),
        heading("What is shown"),
        field(state, "span_min", "Time span"),
        field(state, "rows", "Ticks above and below the level"),
        field(state, "palette", "Colours"),
        *more,
        heading("Keys"),
    ]
    keys = pn.pane.HTML(table, margin=(4, 0), stylesheets=[PANE_CSS], sizing_mode="stretch_width")
    form = Form(margin=0, sizing_mode="stretch_width").bind(state, fields)

    def again(*_: Any) -> None:
        form.fields = [field(state, "step", STEP, kind="group") if f["name"] == "step" else f for f in fields]

    state.param.watch(again, "step", what="objects")
    return [form, keys]


class Bar(param.Parameterized):
    """The buttons of the bar: the drawer and the theme."""

    drawer = param.Boolean(default=False, doc="Whether the drawer is open")
    light = param.Boolean(default=False, doc="Light theme")


def session_pickers(state: LevelState) -> Form:
    """Contract and session; follows the sessions that the chosen contract has."""
    form = Form(row=True, margin=0)

    def fields() -> list[dict[str, Any]]:
        return [field(state, "contract", "Contract"), field(state, "session", "Session (New York)")]

    def again(*_: Any) -> None:
        form.fields = fields()

    form.bind(state, fields())
    state.param.watch(again, ["contract", "session"], what="objects")
    return form
