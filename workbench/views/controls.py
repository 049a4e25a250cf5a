"""The drawer: every control that is not in the way of the picture, made from the state's own parameters."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from workbench.state import LevelState
from workbench.views.style import PANE_CSS


def _heading(text: str) -> pn.pane.HTML:
    return pn.pane.HTML(f"<div class='sm-head'>{text}</div>", stylesheets=[PANE_CSS], margin=(8, 6, 0, 6), sizing_mode="stretch_width")


def drawer(state: LevelState) -> list[Any]:
    """Widgets of the drawer, in the order of use."""
    p = state.param
    wide: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (6, 10)}

    def slider(name: str, label: str, **more: Any) -> Any:
        kind = pmui.FloatSlider if name == "half_life_s" else pmui.IntSlider
        return kind.from_param(p[name], label=label, **wide, **more)

    return [
        _heading("Window and pressure"),
        slider("window_s", "Window, seconds"),
        slider("half_life_s", "Half-life of flow, seconds (0: each window alone)", step=1, end=120),
        pmui.RadioButtonGroup.from_param(p.step, label="Price step", **wide),
        _heading("Buckets: outer bounds, ticks from the level"),
        slider("at", "At"),
        slider("near", "Near", end=60),
        slider("mid", "Middle", end=100),
        slider("far", "Far", end=120),
        _heading("What is shown"),
        pmui.Select.from_param(p.span_min, label="Time span", **wide),
        slider("rows", "Ticks above and below the level"),
        pmui.Select.from_param(p.palette, label="Colours", **wide),
        _heading("Keys"),
        pn.pane.HTML(
            "<table class='sm-keys'><tr><td><kbd>1</kbd>–<kbd>5</kbd></td><td>PM High, PM Low, OR High, OR Low, VWAP</td></tr>"
            "<tr><td><kbd>←</kbd> <kbd>→</kbd></td><td>one window; with <kbd>Shift</kbd> twelve</td></tr>"
            "<tr><td><kbd>↑</kbd> <kbd>↓</kbd></td><td>layer of the heatmap</td></tr>"
            "<tr><td><kbd>[</kbd> <kbd>]</kbd></td><td>previous, next approach</td></tr>"
            "<tr><td><kbd>Home</kbd> <kbd>End</kbd></td><td>start, end of the session</td></tr></table>",
            margin=(2, 8),
            stylesheets=[PANE_CSS],
        ),
    ]


def session_pickers(state: LevelState) -> list[Any]:
    """Contract and session, for the page's header."""
    # The header hands white text down; the pickers take the theme's instead.
    ink = {
        "& .MuiSelect-select, & .MuiSvgIcon-root": {"color": "var(--sm-text) !important"},
        "& .MuiInputLabel-root": {"color": "var(--sm-muted) !important"},
        "& .MuiOutlinedInput-notchedOutline": {"borderColor": "var(--sm-edge) !important"},
    }
    small: dict[str, Any] = {"size": "small", "margin": (7, 4, 0, 4), "variant": "outlined", "sx": ink}
    return [
        pmui.Select.from_param(state.param.contract, label="Contract", width=120, **small),
        pmui.Select.from_param(state.param.session, label="Session (New York)", width=170, **small),
    ]
