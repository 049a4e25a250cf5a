"""The drawer's table of keys: what each view listens to, and what holds on the whole page (docs/SCREEN.md, Keys)."""

from __future__ import annotations

import panel as pn

from workbench.views import VIEWS, KeyRow
from workbench.views.style import PANE_CSS

LEVELS: KeyRow = (("1", "–", "5"), "PM High, PM Low, OR High, OR Low, VWAP")

LEVEL_KEYS: tuple[KeyRow, ...] = (
    LEVELS,
    (("←", "→"), "one window; with <kbd>Shift</kbd> twelve"),
    (("↑", "↓"), "layer of the heatmap"),
    (("[", "]"), "previous, next approach"),
    (("Home", "End"), "start, end of the session"),
)
REPLAY_KEYS: tuple[KeyRow, ...] = (
    (("Space",), "play, pause"),
    LEVELS,
    (("←", "→"), "one second; with <kbd>Shift</kbd> ten"),
    (("[", "]"), "a minute ahead of the previous, next touch of the level"),
    (("Home",), "the open"),
    (("b", "r", "c"), "in the drill: break, reject, chop"),
)
NEIGHBOURS_KEYS: tuple[KeyRow, ...] = (
    (("Space",), "play, pause all setups at once"),
    (("←", "→"), "one second; with <kbd>Shift</kbd> ten"),
    (("Tab",), "to a setup: <kbd>Enter</kbd> opens it in the Level view"),
)
COMPARE_KEYS: tuple[KeyRow, ...] = (
    (("Tab",), "to a picture: <kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd> move the place that is enlarged"),
    (("Tab",), "to the slider of Swipe: <kbd>←</kbd> <kbd>→</kbd> move the edge between the two"),
)

TOOLS: KeyRow = (("Tab",), "to a tool of a figure (pan, zoom, reset, save): <kbd>Enter</kbd> or <kbd>Space</kbd>")
PAGE: list[KeyRow] = [
    (("Tab",), "to views, levels and other choices in a row: <kbd>←</kbd> <kbd>→</kbd> <kbd>Home</kbd> <kbd>End</kbd>"),
]
"""What holds in every view."""


def keys_html(view: str) -> str:
    """HTML table of the keys of the view `view`: those it declares in ``@view(..., keys=...)``, then those of the whole page."""
    rows = [*VIEWS[view].keys, *([] if view == "compare" else [TOOLS]), *PAGE]
    body = "".join(f"<tr><td>{' '.join(_cap(k) for k in keys)}</td><td>{words}</td></tr>" for keys, words in rows)
    return f"<table class='sm-keys'>{body}</table>"


def keys_pane(view: str) -> pn.pane.HTML:
    """The table of a view as what stands in the drawer."""
    return pn.pane.HTML(keys_html(view), margin=(4, 0), stylesheets=[PANE_CSS], sizing_mode="stretch_width")


def _cap(key: str) -> str:
    return key if key == "–" else f"<kbd>{key}</kbd>"
