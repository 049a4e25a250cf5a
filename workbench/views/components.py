"""Elements of the page that all views share: choices, inputs bound to parameters, keyboard, banner, notices, styles."""

from __future__ import annotations

import datetime as dt
import re
from html import escape
from shlex import quote
from typing import Any, ClassVar

import panel as pn
import param
from panel.custom import JSComponent

from engine.lake.trust import TrustWords
from engine.session import Session
from workbench import lakes, session_cache
from workbench.assets import script, style
from workbench.plots.axes import price_text
from workbench.plots.heatmap import LAYERS
from workbench.plots.tables import CSS as TABLE_CSS
from workbench.state import LevelState
from workbench.theme import DARK, LIGHT, Theme, css_variables

PANE_CSS = style("pane")

FILL: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}

BOTH: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_both"}

LADDER_CSS = {"flex": "0 0 clamp(430px, 23vw, 640px)"}
"""The ladder grows with the screen, so that its figures do too."""


def layout(name: str) -> dict[str, Any]:
    """Place and room of a row or column by its class in ``css/layout.css``."""
    return {"css_classes": [name], "stylesheets": [style("layout")]}


def page_css() -> str:
    """CSS of the page itself; colours come as variables, so that one attribute on the document's root changes the theme."""
    dark, light = (";".join(f"{k}:{v}" for k, v in css_variables(theme).items()) for theme in (DARK, LIGHT))
    return style("page", dark=dark, light=light)


class Chips(JSComponent):
    """A radio group drawn as chips.

    Each item: ``id, label``, and if there is something to say ``detail, mark, key`` (the keyboard's digit), ``absent``
    (why it cannot be chosen) with ``word`` (what it is then; "absent" where none is given).
    """

    items = param.List(default=[], doc="What can be chosen")
    value = param.String(default="", doc="Id of what is chosen")
    label = param.String(default="", doc="Name of the group, for screen readers")
    small = param.Boolean(default=False, doc="One line a chip")
    colors = param.Dict(default={}, doc="CSS variables of the theme")

    _stylesheets: ClassVar[list[str]] = [style("chips")]
    _esm = script("chips")


def layer_chips(state: LevelState, label: str = "Heatmap layer", **more: Any) -> Chips:
    """The layers of the heatmap; choosing one sets it in `state`."""
    items = [{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()]
    chips = Chips(label=label, small=True, margin=0, width=440, value=state.layer, items=items, **more)
    chips.param.watch(lambda e: state.param.update(layer=e.new), "value")
    return chips


class Tabs(JSComponent):
    """The views as tabs: click, or arrows, Home and End while one has the focus. Each item: ``id, label``."""

    items = param.List(default=[], doc="The views")
    value = param.String(default="", doc="Id of the one that is open")
    theme = param.String(default="dark", doc="Theme of the page, set as an attribute of the document's root")

    _stylesheets: ClassVar[list[str]] = [style("tabs")]
    _esm = script("bokeh_bridge", "tabs")


class ThemeSwitcher(JSComponent):
    """Both themes of a view's figures in the page, so that the button changes them at once; the server sets the same a moment later."""

    looks = param.Dict(default={}, doc="By theme: by id of the model what the theme sets")
    palettes = param.Dict(default={}, doc="The same of what changes with the layer")
    active = param.Boolean(default=True, doc="Whether the view is the one in front")

    _esm = script("bokeh_bridge", "theme_switcher")


# ----------------------------------------------------------------------------
# The page's controls: one element for any number of fields, made from the state's own parameters


class Form(JSComponent):
    """Fields and their values.

    Each field: ``name, kind, label``; ``slider`` has ``min, max, step``; ``select`` and ``group`` have ``options`` (words, in the
    order of what they mean) and an index as value; ``text`` may have ``hint``; ``toggle`` is a button with ``icon``; ``heading``
    has only a label.
    """

    fields = param.List(default=[], doc="The fields, in order")
    values = param.Dict(default={}, doc="Value by name")
    changed = param.Dict(default={}, doc="What the trader last changed: name, value, and a running number")
    answered = param.Integer(default=0, doc="Running number of the last change that was dealt with")
    row = param.Boolean(default=False, doc="Side by side, without names above")

    _stylesheets: ClassVar[list[str]] = [style("form")]
    _esm = script("make", "in_order", "form")

    def bind(self, state: param.Parameterized, fields: list[dict[str, Any]]) -> Form:
        """Tie the form to `state`: what is changed in one is changed in the other.

        `fields` are named like parameters of `state`, as `input_for` makes them, or headings.
        """
        names = [f["name"] for f in fields if f["kind"] != "heading"]

        def show(*_: Any) -> None:
            self.values = {name: _shown(state, name) for name in names}

        def take(event: Any) -> None:
            name, value = event.new["name"], event.new["value"]
            if name not in names:
                raise ValueError(f"form: expected one of {', '.join(names)}, found {name!r}")
            choices = _choices(state, name)
            try:
                state.param.update(**{name: choices[value][1] if choices is not None else value})
            finally:
                self.answered = event.new["n"]

        self.fields = fields
        show()
        state.param.watch(show, names)
        self.param.watch(take, "changed")
        return self

    def offer(self, fields: list[dict[str, Any]]) -> None:
        """Show `fields`; what has the keyboard's focus is not built again without need."""
        if self.fields != fields:
            self.fields = fields


def _choices(state: param.Parameterized, name: str) -> list[tuple[str, Any]] | None:
    kind = state.param[name]
    if not isinstance(kind, param.Selector):
        return None
    objects = kind.objects
    return [(str(k), v) for k, v in objects.items()] if kind.names else [(str(v), v) for v in objects]


def _shown(state: param.Parameterized, name: str) -> Any:
    choices, value = _choices(state, name), getattr(state, name)
    return value if choices is None else next((i for i, (_, v) in enumerate(choices) if v == value), -1)


def input_for(state: param.Parameterized, name: str, label: str, *, kind: str = "", **more: Any) -> dict[str, Any]:
    """A field from a parameter of `state`: bounds, choices and doc are the parameter's own, `more` overrides them."""
    spec, choices = state.param[name], _choices(state, name)
    if choices is not None:
        made: dict[str, Any] = {"kind": kind or "select", "options": [text for text, _ in choices]}
    elif isinstance(spec, param.Number) and not isinstance(spec, param.Boolean):
        low, high = spec.bounds or (None, None)
        if low is None or high is None:
            raise ValueError(f"form: expected bounds of {name!r}, found {spec.bounds!r}; a slider needs both")
        made = {"kind": "slider", "min": low, "max": high, "step": 1}
    else:
        made = {"kind": kind}
    return {"name": name, "label": label, **made, **more}


def input_form(state: param.Parameterized, name: str, label: str, *, kind: str = "") -> Form:
    """A form of one parameter of `state`."""
    return Form(margin=0).bind(state, [input_for(state, name, label, kind=kind)])


def buttons(name: str, label: str, *words: str) -> dict[str, Any]:
    """A field of buttons beside each other; its value is the index of the one pressed."""
    return {"name": name, "kind": "group", "label": label, "options": list(words)}


def text_field(name: str, label: str, hint: str) -> dict[str, Any]:
    """A field to type in."""
    return {"name": name, "kind": "text", "label": label, "hint": hint}


def heading(text: str) -> dict[str, Any]:
    """A heading among the fields."""
    return {"kind": "heading", "label": text, "name": ""}


class Banner(JSComponent):
    """Lines above a view, dismissed with its button; what is in backquotes is a command to copy. Nothing of it is read as HTML."""

    lines = param.List(default=[], doc="What is said, one line each")
    reload = param.String(default="", doc="A line that ends with a button that loads the page again; empty for none")
    closed = param.Integer(default=0, doc="Counts the trader's dismissals")

    _stylesheets: ClassVar[list[str]] = [style("banner")]
    _esm = script("commands", "banner")


class Notices:
    """What a view has to say, and until when.

    ``feed`` stays while the feed is so, ``trouble`` until the trader's next deliberate act, ``complaints`` (shared by the page's views) and
    the session's notes until they are dismissed, ``stale`` until the session is read again.
    """

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        self.trouble: list[str] = []
        self.notes: tuple[str, ...] = ()
        self.stale = self.feed = ""
        self._dismissed: set[str] = set()
        self.banner = Banner(visible=False, css_classes=["sm-notice"], **FILL)
        self.banner.param.watch(lambda _: self.dismiss(), "closed")

    def act(self) -> None:
        """The trader has done something: what was said of the act before is over."""
        self.trouble = []

    def read(self, notes: tuple[str, ...]) -> None:
        """A session was read again, and has `notes`."""
        self.notes, self.stale = notes, ""

    def dismiss(self) -> None:
        """The trader has read it."""
        self._dismissed |= {*self.notes, self.stale, self.feed}
        self.trouble.clear()
        self.complaints.clear()
        self.show()

    def show(self, *trouble: str) -> None:
        """Put it on the page, `trouble` in the place of what was said before; nothing is sent where nothing changed."""
        if trouble:
            self.trouble = list(trouble)
        notes = [n for n in (self.feed, *self.notes) if n and n not in self._dismissed]
        lines = list(dict.fromkeys([*self.trouble, *self.complaints, *notes]))
        stale = "" if self.stale in self._dismissed else self.stale
        self.banner.param.update(lines=lines, reload=stale, visible=bool(lines or stale))


class Connection(JSComponent):
    """A banner while the server does not answer: what is on the screen is then only a picture. When it is back, the page is opened again.

    It also marks the part of the page with the class ``sm-stage`` as the document's main part, and makes buttons of the tools of
    figures: Bokeh lets the Tab key and Enter reach them, but gives them no role and no name, and Space does nothing.
    """

    _stylesheets: ClassVar[list[str]] = [style("connection")]
    _esm = script("bokeh_bridge", "connection")


# ----------------------------------------------------------------------------
# What the page says in words: the sentence, the time at the cursor, errors, and what to do where something is missing

_CODE = re.compile(r"`([^`]+)`")


def html(text: str = "", **more: Any) -> pn.pane.HTML:
    """A pane of text in the page's type, as wide as there is room."""
    return pn.pane.HTML(text, **{"stylesheets": [PANE_CSS], **FILL, **more})


def figure_pane(figure: Any, **layout: Any) -> pn.pane.Bokeh:
    """A pane of a figure; `layout` is set once the pane is there, for at first it takes the figure's own."""
    pane = pn.pane.Bokeh(figure, margin=0)
    pane.param.update(**layout)
    return pane


def simulated_mark(root: str) -> pn.pane.HTML:
    """The mark of a simulated market, hidden at first; `root` is the lake."""
    mark = f"<span class='sm-mark'>{lakes.simulated_text(root)}</span>"
    return html(mark, visible=False, sizing_mode=None, margin=(0, 0, 0, 12), stylesheets=[PANE_CSS, TABLE_CSS])


def trust_chip(words: TrustWords) -> str:
    """A chip that says how far the session's book is known, its reasons on hover; nothing where there is nothing to say."""
    if not words.chip:
        return ""
    why = escape(words.text)
    return f"<span class='sm-trust' role='status' tabindex='0' title='{why}' aria-label='{words.chip}: {why}'>{words.chip}</span>"


def rich(text: str) -> str:
    """`text` as HTML; what is in backquotes is a command to copy."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def sentence(text: str) -> str:
    """The sentence, its head (level and price) set apart."""
    end = next((i for i, c in enumerate(text) if c in ",:"), len(text))
    return f"<div class='sm-say' role='status' aria-live='polite'><b>{escape(text[:end])}</b>{escape(text[end:])}</div>"


def when(at: str, last: int | None, tick_size: float, theme: Theme) -> str:
    """The last trade, and the time on the clock, New York."""
    price = "no trade yet" if last is None else price_text(last, tick_size)
    return (
        f"<div class='sm-when' style='color:{theme.muted}'>last <b style='color:{theme.text}'>{price}</b> · "
        f"<b style='color:{theme.text}'>{at}</b> New York</div>"
    )


def loading_html(root: str) -> str:
    """Before the first picture."""
    return f"<div class='sm-card'><h2>Reading the lake</h2><p><code>{escape(root)}</code></p><div class='sm-bar'></div></div>"


def failed(root: str, message: str) -> str:
    """Where nothing can be drawn."""
    return (
        f"<div class='sm-card' role='alert'><h2>This session cannot be shown</h2><p>{rich(message)}</p>"
        f"<p>Lake: <code>{escape(root)}</code></p></div>"
    )


def empty_lake_html(root: str) -> str:
    """Where the lake holds no ladder: how to make one."""
    where = escape(quote(root))
    return (
        "<div class='sm-card'><h2>No session in the lake yet</h2>"
        f"<p>The lake <code>{escape(root)}</code> has no price ladder. "
        "Two commands make one from Databento files (GLBX.MDP3, schema mbo):</p>"
        f"<pre>spymaster add --lake {where} path/to/files\nspymaster demo --lake {where} --no-serve</pre>"
        "<p>Then reload this page. A session that is recorded (<code>spymaster live</code>) opens by itself once something has traded."
        "</p><p>Another lake: <code>spymaster serve --lake DIR</code>.</p></div>"
    )


def session_of(root: str, state: LevelState) -> Session | None:
    """The session that `state` names, as read from the lake; None where it names none."""
    if state.contract is None or state.session is None:
        return None
    return session_cache.load(root, state.contract, dt.date.fromisoformat(state.session))
