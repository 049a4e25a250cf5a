"""Which controls there are: the bar above the picture, and the drawer with everything that is not in the way of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import panel as pn
import param
from panel.custom import JSComponent

from workbench.assets import script, style
from workbench.state import LevelState
from workbench.views import KeyRow, in_order
from workbench.views.components import FILL, Form, heading, html, input_for


def drawer(state: LevelState, *more: dict[str, Any], view: str = "level") -> list[Any]:
    """What the drawer of a view holds, in the order of use; `more` fields come before its keys."""

    def fields() -> list[dict[str, Any]]:
        return [
            heading("Window and pressure"),
            input_for(state, "window_s", "Window, seconds"),
            input_for(state, "half_life_s", "Half-life of flow, seconds (0: each window alone)", max=120),
            input_for(state, "step", "Price step of a row", kind="group"),
            heading("Buckets: outer bounds, ticks from the level"),
            input_for(state, "at", "At"),
            input_for(state, "near", "Near", max=60),
            input_for(state, "mid", "Middle", max=100),
            input_for(state, "far", "Far", max=120),
            heading("What is shown"),
            input_for(state, "span_min", "Time span"),
            input_for(state, "rows", "Ticks above and below the level"),
            input_for(state, "palette", "Colours"),
            input_for(state, "dots", "Dots of trades from so many contracts on"),
            input_for(state, "volume", "Volume profile and cumulative delta, to the clock", kind="group"),
            input_for(state, "marks", "Large orders, icebergs, sweeps on the heat", kind="group"),
            *more,
            heading("Keys"),
        ]

    return [following_form(state, fields, "step", **FILL), keys_pane(view)]


def following_form(state: LevelState, fields: Callable[[], list[dict[str, Any]]], *offers: str, **more: Any) -> Form:
    """A form that shows other fields where what the parameters `offers` of `state` offer changes."""
    form = Form(**more).bind(state, fields())
    state.param.watch(lambda *_: form.param.update(fields=fields()), list(offers), what="objects")
    return form


class Bar(param.Parameterized):
    """The buttons of the bar: the drawer and the theme."""

    drawer = param.Boolean(default=False, doc="Whether the drawer is open")
    light = param.Boolean(default=False, doc="Light theme")


def session_pickers(state: LevelState) -> Form:
    """Contract and session, with its weekday; follows the sessions that the chosen contract has."""

    def fields() -> list[dict[str, Any]]:
        dates = [f"{dt.date.fromisoformat(d):%a} {d}" for d in state.param["session"].objects]
        return [input_for(state, "contract", "Contract"), input_for(state, "session", "Session (New York)", options=dates)]

    return following_form(state, fields, "contract", "session", row=True, margin=0)


# ----------------------------------------------------------------------------
# The drawer's table of keys: what each view listens to, and what holds on the whole page (docs/SCREEN.md, Keys)

LEVELS: KeyRow = (("1", "–", "5"), "PM High, PM Low, OR High, OR Low, VWAP")

LEVEL_KEYS: tuple[KeyRow, ...] = (
    LEVELS,
    (("Space",), "play, pause"),
    (("←", "→"), "one window back, on; with <kbd>Shift</kbd> twelve"),
    ((",", "."), "one second back, on"),
    (("[", "]"), "a minute ahead of the previous, next touch of the level"),
    (("Home", "End"), "the open; the session's end"),
    (("g",), "to the newest second of a session under way, and on with it"),
    (("h",), "show what came after the moment, or hide it"),
    (("↑", "↓"), "layer of the heatmap"),
    (("t",), "time and sales: single trades up to the clock"),
    (("l", "s", "d"), "copy the link to this moment, the sentence, the ladder's rows; <kbd>Shift</kbd> <kbd>T</kbd> the trades shown"),
    (("Shift",), "and a click on the chart: a level of your own at that price"),
    (("w",), "to the list of panels that open in a window of their own, on this clock"),
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

HELP: KeyRow = (("?",), "all keys of the view, over the page; <kbd>Esc</kbd> closes")

PAGE: KeyRow = (("Tab",), "to views, levels and other choices in a row: <kbd>←</kbd> <kbd>→</kbd> <kbd>Home</kbd> <kbd>End</kbd>")
"""What holds in every view."""


def keys_html(view: str) -> str:
    """HTML table of the keys of the view `view`: those it declares in ``@view(..., keys=...)``, then those of the whole page."""
    own = next(spec.keys for spec in in_order() if spec.key == view)
    rows = [*own, *([] if view == "compare" else [TOOLS]), PAGE, HELP]

    def caps(keys: Sequence[str]) -> str:
        return " ".join(key if key == "–" else f"<kbd>{key}</kbd>" for key in keys)

    return f"<table class='sm-keys'>{''.join(f'<tr><td>{caps(keys)}</td><td>{words}</td></tr>' for keys, words in rows)}</table>"


class KeysHelp(JSComponent):
    """All keys of the view in front, over the page: `?` opens and closes it."""

    html = param.String(default="", doc="The table of keys; nothing of it comes from elsewhere")

    _stylesheets: ClassVar[list[str]] = [style("keys_help")]
    _esm = script("keys_help")

    def of_view(self, view: str) -> None:
        """Show the keys of `view`."""
        title = next(spec.title for spec in in_order() if spec.key == view)
        self.html = f"<h2>Keys of {title}</h2>{keys_html(view)}"


def keys_pane(view: str) -> pn.pane.HTML:
    """The table of a view as it is in the drawer."""
    return html(keys_html(view), margin=(4, 0))
