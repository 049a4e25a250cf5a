"""Which controls there are: the bar above the picture, and the drawer with everything that is not in the way of it."""

from __future__ import annotations

from typing import Any

import param

from workbench.state import LevelState
from workbench.views.form import Form, field, heading
from workbench.views.keys_help import keys_pane

STEP = "Price step of a row"


def drawer(state: LevelState, *more: dict[str, Any], view: str = "level") -> list[Any]:
    """What the drawer of a view holds, in the order of use; `more` fields stand before its keys."""
    volume = field(state, "volume", "Volume profile and cumulative delta, to the cursor", kind="group")
    return _drawer(state, [volume, *more], view)


def replay_drawer(state: LevelState) -> list[Any]:
    """What the Replay view's drawer holds: what its pictures show, and its own keys."""
    return _drawer(state, [], "replay")


def _drawer(state: LevelState, more: list[dict[str, Any]], view: str) -> list[Any]:
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
    keys = keys_pane(view)
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
