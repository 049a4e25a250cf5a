"""Elements of the page that all views share: choices, inputs bound to parameters, keyboard, banner, notices, styles."""

from __future__ import annotations

import re
from html import escape
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from workbench.plots.axes import price_text
from workbench.theme import DARK, FONT, LIGHT, MONO, Theme, css_variables

# ----------------------------------------------------------------------------
# The page's own small elements: a row of choices with live figures, and the keyboard

CHIPS_CSS = """
.chips { display: flex; gap: 6px; overflow-x: auto; align-items: stretch; font-family: var(--sm-font); scrollbar-width: thin; }
.chips button { flex: 0 0 auto; display: grid; grid-template-columns: auto auto; column-gap: 8px; align-items: baseline; text-align: left;
  background: var(--sm-panel); color: var(--sm-text); border: 1px solid var(--sm-edge); border-radius: 6px; padding: 4px 9px;
  cursor: pointer;  font: 600 13px var(--sm-font); line-height: 1.35; }
.chips button:hover:not([aria-disabled=true]) { border-color: var(--sm-level); }
.chips button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 1px; }
.chips button[aria-checked=true] { border-color: var(--sm-level); box-shadow: inset 0 -3px 0 var(--sm-level); }
.chips button[aria-disabled=true] { cursor: help; color: var(--sm-muted); border-style: dashed; background: transparent; font-weight: 400; }
.chips .detail { font: 12px var(--sm-mono); color: var(--sm-muted); grid-column: 1; }
.chips .mark { font: 600 12px var(--sm-mono); justify-self: end; grid-column: 2; }
.chips .key { font: 11px var(--sm-mono); color: var(--sm-muted); justify-self: end; grid-column: 2; }
.chips.small button { grid-template-columns: auto; padding: 4px 10px; }
"""


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

    _stylesheets: ClassVar[list[str]] = [CHIPS_CSS]
    _esm = """
    export function render({ model, el }) {
      const box = document.createElement("div");
      box.setAttribute("role", "radiogroup");
      const buttons = new Map();
      const make = (id) => {
        const b = document.createElement("button");
        b.type = "button"; b.dataset.id = id; b.setAttribute("role", "radio");
        for (const cls of model.small ? ["name"] : ["name", "key", "detail", "mark"]) {
          const s = document.createElement("span"); s.className = cls; b.append(s);
        }
        b.addEventListener("click", (e) => {
          if (b.getAttribute("aria-disabled") !== "true") model.value = id;
          // After a click of the mouse the keyboard is the picture's again.
          if (e.detail > 0) b.blur();
        });
        buttons.set(id, b);
        return b;
      };
      // One stop of the Tab key for the group; arrows go from chip to chip, also to those that are absent, to read why.
      box.addEventListener("keydown", (e) => {
        const all = [...box.children], at = all.indexOf(e.target);
        const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[e.key];
        if (at < 0 || to === undefined) return;
        e.preventDefault(); e.stopPropagation();
        const b = all[(to + all.length) % all.length];
        for (const c of all) c.tabIndex = c === b ? 0 : -1;
        b.focus(); b.click();
      });
      // Only what differs is written: a touched element makes the browser style the page again before the picture is drawn.
      const put = (el, key, text) => { if (el && el[key] !== text) el[key] = text; };
      const draw = () => {
        const cls = model.small ? "chips small" : "chips";
        put(box, "className", cls);
        if (box.getAttribute("aria-label") !== model.label) box.setAttribute("aria-label", model.label);
        for (const [k, v] of Object.entries(model.colors)) if (box.style.getPropertyValue(k) !== v) box.style.setProperty(k, v);
        const ids = model.items.map((it) => it.id);
        for (const [id, b] of buttons) if (!ids.includes(id)) { b.remove(); buttons.delete(id); }
        model.items.forEach((it, i) => {
          const b = buttons.get(it.id) || make(it.id);
          if (box.children[i] !== b) box.insertBefore(b, box.children[i] || null);
          const on = String(it.id === model.value);
          if (b.getAttribute("aria-checked") !== on) b.setAttribute("aria-checked", on);
          if (b.getAttribute("aria-disabled") !== String(!!it.absent)) b.setAttribute("aria-disabled", String(!!it.absent));
          put(b, "tabIndex", it.id === model.value || (i === 0 && !ids.includes(model.value)) ? 0 : -1);
          const away = it.word || "absent";
          put(b, "title", it.absent ? `${away[0].toUpperCase()}${away.slice(1)}: ${it.absent}` : (it.title || ""));
          const text = { name: it.label, key: it.key || "", detail: it.absent ? away : (it.detail || ""), mark: it.mark || "" };
          for (const s of b.children) put(s, "textContent", text[s.className]);
        });
      };
      let asked = false;
      const soon = () => { if (!asked) { asked = true; queueMicrotask(() => { asked = false; draw(); }); } };
      draw();
      for (const what of ["items", "value", "colors", "label"]) model.on(what, soon);
      return box;
    }
    """


TABS_CSS = """
.tabs { display: flex; gap: 2px; font: 600 14px var(--sm-font); }
.tabs button { background: transparent; color: var(--sm-muted); border: 0; border-bottom: 3px solid transparent; border-radius: 0;
  padding: 8px 12px 6px; min-height: 36px; cursor: pointer; font: inherit; }
.tabs button:hover { color: var(--sm-text); }
.tabs button[aria-selected=true] { color: var(--sm-text); border-bottom-color: var(--sm-level); }
.tabs button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: -2px; }
"""


class Tabs(JSComponent):
    """The views as tabs: click, or arrows, Home and End while one has the focus. Each item: ``id, label``."""

    items = param.List(default=[], doc="The views")
    value = param.String(default="", doc="Id of the one that is open")
    theme = param.String(default="dark", doc="Theme of the page, set as an attribute of the document's root")

    _stylesheets: ClassVar[list[str]] = [TABS_CSS]
    _esm = """
    export function render({ model, el }) {
      const box = document.createElement("div");
      box.className = "tabs";
      box.setAttribute("role", "tablist");
      box.setAttribute("aria-label", "View");
      // A canvas that ends within a pixel paints that pixel in part only: of the old colours a line would stay.
      const wipe = ({ canvas, ctx }) => {
        const { width: w, height: h } = canvas;
        ctx.save();
        ctx.setTransform(1, 0, 0, 1, 0, 0);
        for (const edge of [[0, 0, w, 1], [0, h - 1, w, 1], [0, 0, 1, h], [w - 1, 0, 1, h]]) ctx.clearRect(...edge);
        ctx.restore();
      };
      let again = 0;
      const due = new Set();
      const there = (v) => v.el.getClientRects().length > 0;
      const settle = () => {
        for (const v of due) {
          if (!v.is_destroyed && !there(v)) continue;
          due.delete(v);
          if (!v.is_destroyed) { wipe(v.canvas_view.primary); v.request_repaint(); }
        }
      };
      // Once more: what plays may have painted in the old colours meanwhile, and a hidden view does when it comes back, until it is told.
      const later = () => { clearTimeout(again); again = setTimeout(settle, 500); };
      const dress = (theme) => {
        if (document.documentElement.dataset.smTheme === theme) return;
        document.documentElement.dataset.smTheme = theme;
        for (const view of Bokeh.index.query((v) => v.canvas_view?.primary)) { wipe(view.canvas_view.primary); due.add(view); }
        later();
      };
      dress(model.theme);
      model.on("theme", () => dress(model.theme));
      // Of a view that has dressed its figures itself, before the server has answered.
      const early = (e) => dress(e.detail);
      window.addEventListener("sm-dressed", early);
      model.on("remove", () => window.removeEventListener("sm-dressed", early));
      const open = (id) => { model.value = id; };
      const all = model.items.map((it) => {
        const b = document.createElement("button");
        b.type = "button"; b.dataset.id = it.id; b.textContent = it.label;
        b.setAttribute("role", "tab");
        b.addEventListener("click", (e) => {
          open(it.id);
          // After a click of the mouse the keyboard is the view's; who came by Tab keeps the tabs' own keys.
          if (e.detail > 0) b.blur();
        });
        return b;
      });
      box.append(...all);
      box.addEventListener("keydown", (e) => {
        const at = all.indexOf(e.target);
        const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[e.key];
        if (at < 0 || to === undefined) return;
        // The arrows that the pictures listen to are not theirs while a tab has the focus.
        e.preventDefault(); e.stopPropagation();
        const b = all[(to + all.length) % all.length];
        b.focus(); open(b.dataset.id);
      });
      const draw = () => {
        for (const b of all) {
          const on = b.dataset.id === model.value;
          b.setAttribute("aria-selected", String(on));
          b.tabIndex = on ? 0 : -1;
        }
      };
      draw();
      model.on("value", () => { draw(); if (due.size) later(); });
      return box;
    }
    """


class ThemeSwitcher(JSComponent):
    """Both themes of a view's figures in the page, so that the button changes them at once; the server sets the same a moment later."""

    looks = param.Dict(default={}, doc="By theme: by id of the model what the theme sets")
    palettes = param.Dict(default={}, doc="The same of what changes with the layer")
    active = param.Boolean(default=True, doc="Whether the view is the one in front")
    _esm = """
    export function render({ model, el }) {
      el.style.display = "none";
      const change = (e) => {
        const theme = e.detail.on ? "light" : "dark", look = model.looks[theme];
        if (e.detail.name !== "light" || !model.active || !look) return;
        const [first] = Object.keys(look);
        const page = Bokeh.documents.find((d) => d.get_model_by_id(first));
        // Not told to the server, which sets it itself: where it is set already, nothing is painted again.
        const spec = (v) => (v?.value === undefined ? v : { value: v.value, transform: undefined, units: undefined });
        for (const [id, values] of Object.entries({ ...look, ...model.palettes[theme] })) {
          const said = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, spec(v)]));
          page.get_model_by_id(id)?.setv(said, { sync: false });
        }
        window.dispatchEvent(new CustomEvent("sm-dressed", { detail: theme }));
      };
      window.addEventListener("sm-toggle", change);
      model.on("remove", () => window.removeEventListener("sm-toggle", change));
      return document.createElement("span");
    }
    """


class Keys(JSComponent):
    """The keyboard: digits choose a level, arrows move the cursor, brackets jump between approaches."""

    pressed = param.Dict(default={}, doc="Last key, with a running number so that a repeat is a change")

    active = param.Boolean(default=True, doc="Whether keys are listened to; false while another view is open")
    figures = param.Dict(default={}, doc="What each figure shows, by its name, for who does not see it")
    _esm = """
    export function render({ model, el }) {
      el.style.display = "none";
      let n = 0;
      const inField = (e) => e.composedPath().some((t) => t.tagName && (/^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) ||
        t.isContentEditable || ["listbox", "slider", "combobox"].includes(t.getAttribute?.("role"))));
      const onKey = (e) => {
        if (!model.active || e.ctrlKey || e.metaKey || e.altKey || inField(e)) return;
        const wanted = /^[1-9]$/.test(e.key) || ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "[", "]", "Home",
          "End"].includes(e.key);
        if (!wanted) return;
        e.preventDefault();
        model.pressed = { key: e.key, shift: e.shiftKey, n: ++n };
      };
      window.addEventListener("keydown", onKey);
      // Figures stand a moment after the page.
      const tell = (left) => {
        const views = [...Bokeh.index.query((v) => v.model.name in model.figures)];
        for (const v of views) { v.el.setAttribute("role", "figure"); v.el.setAttribute("aria-label", model.figures[v.model.name]); }
        if (views.length < Object.keys(model.figures).length && left) setTimeout(() => tell(left - 1), 500);
      };
      setTimeout(() => tell(10), 300);
      model.on("remove", () => window.removeEventListener("keydown", onKey));
      return document.createElement("span");
    }
    """


# ----------------------------------------------------------------------------
# What the page's own components share in the browser: JavaScript put before a component's `render`

MAKE = """
    const make = (tag, props = {}, kids = []) => {
      const e = Object.assign(document.createElement(tag), props);
      e.append(...kids);
      return e;
    };
"""
"""``make(tag, props, kids)``: an element with its properties and children."""

ONE_AT_A_TIME = """
    const oneAtATime = (send) => {
      let waiting = null, busy = false;
      const tell = (name, value) => {
        if (busy) { waiting = [name, value]; return; }
        busy = true;
        send(name, value);
      };
      tell.busy = () => busy;
      tell.answered = () => {
        busy = false;
        if (!waiting) return true;
        const [name, value] = waiting;
        waiting = null;
        tell(name, value);
        return false;
      };
      return tell;
    };
"""
"""``oneAtATime(send)``: one act is on its way at a time; of those made meanwhile only the last counts, so that a dragged slider never lags.

``answered()`` sends the one that waits, or says true where none does.
"""


# ----------------------------------------------------------------------------
# The page's controls: one element for any number of fields, made from the state's own parameters

FORM_CSS = """
.form { display: flex; flex-direction: column; gap: 10px; font: 14px var(--sm-font); color: var(--sm-text); }
.form.row { flex-direction: row; gap: 10px; align-items: center; }
label, .field { display: flex; flex-direction: column; gap: 4px; }
.name { color: var(--sm-muted); font-size: 13px; display: flex; justify-content: space-between; gap: 12px; }
.row .name { display: none; }
output { color: var(--sm-text); font: 600 14px var(--sm-mono); }
h3 { margin: 10px 0 0; font: 600 13px var(--sm-font); color: var(--sm-text); border-bottom: 1px solid var(--sm-edge); padding-bottom: 4px; }
select, input[type=text], button { background: var(--sm-panel); color: var(--sm-text); border: 1px solid var(--sm-edge); border-radius: 6px;
  padding: 6px 9px; font: 14px var(--sm-font); min-height: 34px; box-sizing: border-box; }
input[type=text] { width: 116px; }
input::placeholder { color: var(--sm-muted); opacity: 1; }
button { cursor: pointer; }
button:hover, select:hover { border-color: var(--sm-level); }
:is(select, input, button):focus-visible { outline: 2px solid var(--sm-level); outline-offset: 1px; }
input[type=range] { width: 100%; margin: 2px 0; accent-color: var(--sm-long); min-height: 22px; }
.group { display: flex; gap: 6px; }
.group button[aria-pressed=true] { border-color: var(--sm-level); box-shadow: inset 0 -3px 0 var(--sm-level); font-weight: 600; }
.icon { font-size: 17px; line-height: 1; min-width: 38px; }
"""


class Form(JSComponent):
    """Fields and their values.

    Each field: ``name, kind, label``; ``slider`` has ``min, max, step``; ``select`` and ``group`` have ``options`` (words, in the
    order of what they stand for) and an index as value; ``text`` may have ``hint``; ``toggle`` is a button with ``icon``; ``heading``
    has only a label.
    """

    fields = param.List(default=[], doc="The fields, in order")
    values = param.Dict(default={}, doc="Value by name")
    changed = param.Dict(default={}, doc="What the trader last changed: name, value, and a running number")
    answered = param.Integer(default=0, doc="Running number of the last change that was dealt with")
    row = param.Boolean(default=False, doc="Side by side, without names above")

    _stylesheets: ClassVar[list[str]] = [FORM_CSS]
    _esm = (
        MAKE
        + ONE_AT_A_TIME
        + """
    export function render({ model, el }) {
      const box = document.createElement("div");
      let n = 0;
      const tell = oneAtATime((name, value) => { model.changed = { name, value, n: ++n }; });
      model.on("answered", () => { if (tell.answered()) fill(); });
      const shown = new Map();
      const build = {
        heading: (f) => make("h3", { textContent: f.label }),
        slider: (f) => {
          const out = make("output"), input = make("input", { type: "range", min: f.min, max: f.max, step: f.step });
          input.setAttribute("aria-label", f.label);
          input.addEventListener("input", () => { out.textContent = input.value; tell(f.name, Number(input.value)); });
          shown.set(f.name, (v) => { input.value = v; out.textContent = String(v); });
          return make("label", {}, [make("span", { className: "name" }, [f.label, out]), input]);
        },
        select: (f) => {
          const input = make("select", { title: f.label }, f.options.map((text, i) => make("option", { value: i, textContent: text })));
          input.setAttribute("aria-label", f.label);
          input.addEventListener("change", () => tell(f.name, Number(input.value)));
          shown.set(f.name, (v) => { input.value = v; });
          return make("label", {}, [make("span", { className: "name", textContent: f.label }), input]);
        },
        group: (f) => {
          const all = f.options.map((text, i) => {
            const b = make("button", { type: "button", textContent: text });
            b.addEventListener("click", () => tell(f.name, i));
            return b;
          });
          shown.set(f.name, (v) => all.forEach((b, i) => b.setAttribute("aria-pressed", String(i === v))));
          const group = make("div", { className: "group" }, all);
          group.setAttribute("role", "group");
          group.setAttribute("aria-label", f.label);
          return make("div", { className: "field" }, [make("span", { className: "name", textContent: f.label }), group]);
        },
        text: (f) => {
          const input = make("input", { type: "text", placeholder: f.hint || "", title: f.label });
          input.setAttribute("aria-label", f.label);
          input.addEventListener("change", () => tell(f.name, input.value));
          shown.set(f.name, (v) => { input.value = v; });
          return make("label", {}, [make("span", { className: "name", textContent: f.label }), input]);
        },
        toggle: (f) => {
          const b = make("button", { type: "button", className: "icon", textContent: f.icon, title: f.label });
          b.setAttribute("aria-label", f.label);
          let on = false;
          const put = (v) => { on = v; b.setAttribute("aria-pressed", String(v)); };
          b.addEventListener("click", () => {
            put(!on);
            // Who can do it without the server, the theme say, does it at once.
            b.dispatchEvent(new CustomEvent("sm-toggle", { bubbles: true, composed: true, detail: { name: f.name, on } }));
            tell(f.name, on);
          });
          shown.set(f.name, put);
          return b;
        },
      };
      // An answer to an earlier change must not take back what has been changed since.
      const fill = () => { if (!tell.busy()) for (const [name, put] of shown) if (name in model.values) put(model.values[name]); };
      const draw = () => {
        box.className = model.row ? "form row" : "form";
        shown.clear();
        box.replaceChildren(...model.fields.map((f) => build[f.kind](f)));
        fill();
      };
      draw();
      model.on("fields", draw);
      model.on("values", fill);
      return box;
    }
    """
    )

    def bind(self, state: param.Parameterized, fields: list[dict[str, Any]]) -> Form:
        """Tie the form to `state`: what is changed in one is changed in the other.

        Parameters
        ----------
        fields : list of dict
            Fields named like parameters of `state`, as `field` makes them, and headings.
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
    spec = state.param[name]
    out: dict[str, Any] = {"name": name, "label": label}
    choices = _choices(state, name)
    if choices is not None:
        return {**out, "kind": kind or "select", "options": [text for text, _ in choices], **more}
    if isinstance(spec, param.Number) and not isinstance(spec, param.Boolean):
        low, high = spec.bounds or (None, None)
        if low is None or high is None:
            raise ValueError(f"form: expected bounds of {name!r}, found {spec.bounds!r}; a slider needs both")
        return {**out, "kind": "slider", "min": low, "max": high, "step": 1, **more}
    return {**out, "kind": kind, **more}


def heading(text: str) -> dict[str, Any]:
    """A heading among the fields."""
    return {"kind": "heading", "label": text, "name": ""}


# ----------------------------------------------------------------------------
# What has to be said above a view: one line each, dismissed with its button

BANNER_CSS = """
.said { display: flex; align-items: flex-start; gap: 10px; margin: 0 0 6px; padding: 5px 6px 5px 12px; border: 1px solid var(--sm-error);
  border-left-width: 5px; border-radius: 4px; font: 14px/1.5 var(--sm-font); color: var(--sm-text); background: var(--sm-panel); }
.said[hidden] { display: none; }
ul { flex: 1; margin: 0; padding: 3px 0 3px 16px; max-height: 22vh; overflow-y: auto; overflow-wrap: anywhere; }
code { font-family: var(--sm-mono); border: 1px solid var(--sm-edge); border-radius: 4px; padding: 1px 5px; user-select: all; }
button { flex: none; min-width: 32px; min-height: 32px; background: transparent; color: var(--sm-text); border: 1px solid var(--sm-edge);
  border-radius: 6px; font: 14px var(--sm-font); cursor: pointer; }
li button { min-height: 0; padding: 1px 8px; }
button:hover { border-color: var(--sm-level); }
button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 1px; }
"""


class Banner(JSComponent):
    """Lines above a view; what stands in backquotes is a command to copy. Nothing of it is read as HTML."""

    lines = param.List(default=[], doc="What is said, one line each")
    reload = param.String(default="", doc="A line that ends with a button that loads the page again; empty for none")
    closed = param.Integer(default=0, doc="Counts the trader's dismissals")

    _stylesheets: ClassVar[list[str]] = [BANNER_CSS]
    _esm = """
    export function render({ model, el }) {
      const box = document.createElement("div"), list = document.createElement("ul"), close = document.createElement("button");
      box.className = "said";
      list.setAttribute("role", "alert");
      close.type = "button"; close.textContent = "✕"; close.title = "Close this notice";
      close.setAttribute("aria-label", "Close this notice");
      close.addEventListener("click", () => { model.closed = model.closed + 1; });
      box.append(list, close);
      const line = (text) => {
        const li = document.createElement("li");
        text.split("`").forEach((part, i) => {
          if (i % 2 === 0) { li.append(part); return; }
          const code = document.createElement("code"); code.textContent = part; li.append(code);
        });
        return li;
      };
      const draw = () => {
        const all = [...new Set(model.lines)].map(line);
        if (model.reload) {
          const li = line(model.reload + " "), again = document.createElement("button");
          again.type = "button"; again.textContent = "Reload";
          again.addEventListener("click", () => location.reload());
          li.append(again); all.push(li);
        }
        list.replaceChildren(...all);
        box.hidden = all.length === 0;
      };
      draw();
      model.on("lines", draw); model.on("reload", draw);
      return box;
    }
    """


class Notices:
    """What a view has to say, and until when.

    ``trouble`` stays until the trader's next deliberate act, ``complaints`` (shared by the page's views) and the session's notes until
    they are dismissed, ``stale`` until the session is read again.
    """

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        self.trouble: list[str] = []
        self.notes: tuple[str, ...] = ()
        self.stale = ""
        self._dismissed: set[str] = set()
        self.banner = Banner(margin=0, sizing_mode="stretch_width", visible=False)
        self.banner.param.watch(lambda _: self.dismiss(), "closed")

    def act(self) -> None:
        """The trader has done something: what was said of the act before is over."""
        self.trouble = []

    def read(self, notes: tuple[str, ...]) -> None:
        """A session was read anew."""
        self.notes, self.stale = notes, ""

    def dismiss(self) -> None:
        """The trader has read it."""
        self._dismissed |= {*self.notes, self.stale}
        self.trouble.clear()
        self.complaints.clear()
        self.show()

    def show(self) -> None:
        """Put it on the page; nothing is sent where nothing changed."""
        notes = [n for n in self.notes if n not in self._dismissed]
        lines = list(dict.fromkeys([*self.trouble, *self.complaints, *notes]))
        stale = "" if self.stale in self._dismissed else self.stale
        self.banner.param.update(lines=lines, reload=stale, visible=bool(lines or stale))


# ----------------------------------------------------------------------------
# What the page says of itself: that its server is gone, and where its main part is

LOST_CSS = """
:host { position: fixed; top: 54px; left: 50%; transform: translateX(-50%); z-index: 10000; width: max-content; height: auto; }
.lost { display: flex; align-items: center; gap: 14px; padding: 10px 14px 10px 18px; border: 2px solid var(--sm-error); border-radius: 8px;
  background: var(--sm-panel); color: var(--sm-text); font: 600 15px/1.4 var(--sm-font); box-shadow: 0 6px 24px #0008; }
.lost[hidden] { display: none; }
button { background: var(--sm-error); color: var(--sm-page); border: 0; border-radius: 6px; padding: 6px 14px; min-height: 34px;
  cursor: pointer; font: 600 14px var(--sm-font); }
button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 2px; }
"""


class Connection(JSComponent):
    """A banner while the server does not answer: what is on the screen is then only a picture.

    It also marks the part of the page with the class ``sm-stage`` as the document's main part, and makes buttons of the tools of
    figures: Bokeh lets the Tab key and Enter reach them, but gives them no role and no name, and Space does nothing.
    """

    _stylesheets: ClassVar[list[str]] = [LOST_CSS]
    _esm = """
    export function render({ view }) {
      const box = document.createElement("div"), text = document.createElement("span"), again = document.createElement("button");
      box.className = "lost"; box.hidden = true;
      box.setAttribute("role", "alert");
      again.type = "button"; again.textContent = "Reload";
      again.addEventListener("click", () => location.reload());
      const doc = view.model.document;
      // The words are put in when they are true: a screen reader says what comes into an alert.
      doc.on_event("connection_lost", () => {
        text.textContent = "The connection to the server is lost: what you see does not react any more.";
        box.replaceChildren(text, again);
        box.hidden = false;
      });
      doc.on_event("client_reconnected", () => { box.hidden = true; box.replaceChildren(); });
      const mark = (left) => {
        const stages = [...Bokeh.index.query((v) => v.model.css_classes?.includes("sm-stage"))];
        for (const v of stages) v.el.setAttribute("role", "main");
        if (!stages.length && left) setTimeout(() => mark(left - 1), 300);
      };
      setTimeout(() => mark(20), 100);
      const walk = function* (node) {
        for (const e of node.children ?? []) {
          yield e;
          if (e.shadowRoot) yield* walk(e.shadowRoot);
          yield* walk(e);
        }
      };
      const reachable = () => {
        for (const e of walk(document)) {
          if (e.classList.contains("bk-tool-overflow") && !e.getAttribute("aria-label")) e.setAttribute("aria-label", "More tools");
          const tool = e.classList.contains("bk-tool-icon") ? e.getRootNode().host : null;
          if (!tool || tool.getAttribute("role")) continue;
          tool.setAttribute("role", "button");
          tool.setAttribute("aria-label", tool.title || "Tool of the figure");
          tool.addEventListener("keydown", (k) => {
            if (k.key !== " ") return;
            k.preventDefault(); k.stopPropagation();  // Space plays and pauses elsewhere
            tool.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
          });
        }
      };
      // When the Tab key is first used on what there is then: figures come with their views, and a pointer needs none of this.
      window.addEventListener("keydown", (e) => { if (e.key === "Tab") reachable(); }, true);
      return box;
    }
    """


# ----------------------------------------------------------------------------
# The page's CSS; colours come as variables, so that one attribute on the document's root changes the theme


def page_css() -> str:
    """CSS of the page itself; colours come as variables from the theme."""

    def block(theme: Theme) -> str:
        return ";".join(f"{k}:{v}" for k, v in css_variables(theme).items())

    return f"""
    :root, body {{ {block(DARK)} }}
    :root[data-sm-theme=light], :root[data-sm-theme=light] body {{ {block(LIGHT)} }}
    html, body {{ margin: 0; height: 100%; overflow: hidden; background: var(--sm-page); color: var(--sm-text); font-family: {FONT}; }}
    """


PANE_CSS = f"""
:host {{ font-family: {FONT}; color: var(--sm-text); }}
.sm-say {{ font: clamp(15px, 1.05vw, 20px) {FONT}; line-height: 1.4; padding: 2px 0 4px; color: var(--sm-text); }}
.sm-say b {{ color: var(--sm-level); }}
.sm-when {{ font: clamp(13px,.65vw,17px) {FONT}; white-space: nowrap; padding-top: 6px; }}
.sm-when b {{ font: 600 1.15em {MONO}; }}
code, pre {{ font-family: {MONO}; background: var(--sm-panel); border: 1px solid var(--sm-edge);
  border-radius: 4px; padding: 1px 5px; user-select: all; }}
pre {{ padding: 12px; overflow-x: auto; line-height: 1.6; font-size: 14px; }}
.sm-card {{ max-width: 900px; margin: 9vh auto; padding: 26px 32px; border: 1px solid var(--sm-edge); border-radius: 10px;
  background: var(--sm-page); font: 16px {FONT}; }}
.sm-card h2 {{ margin: 0 0 12px; }}
.sm-bar {{ height: 3px; background: linear-gradient(90deg, var(--sm-edge), var(--sm-long), var(--sm-edge)); }}
.sm-head {{ font: 600 13px {FONT}; color: var(--sm-muted); text-transform: none; }}
.sm-keys {{ font: 13px {FONT}; border-spacing: 6px 4px; }}
kbd {{ font: 12px {MONO}; border: 1px solid var(--sm-edge); border-radius: 3px; padding: 0 5px; }}
.sm-brand {{ font: 700 18px {FONT}; letter-spacing: .02em; }}
"""


# ----------------------------------------------------------------------------
# What the page says in words: the sentence, the time at the cursor, errors, and what to do where something is missing

_CODE = re.compile(r"`([^`]+)`")


def rich(text: str) -> str:
    """`text` as HTML; what stands in backquotes is a command to copy."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def sentence(text: str) -> str:
    """The sentence, its head (level and price) set apart."""
    end = next((i for i, c in enumerate(text) if c in ",:"), len(text))
    head, rest = text[:end], text[end:]
    return f"<div class='sm-say' role='status' aria-live='polite'><b>{escape(head)}</b>{escape(rest)}</div>"


def when(begin: str, end: str, last: int | None, tick_size: float, theme: Theme) -> str:
    """Window at the cursor and the last trade in it, New York time."""
    price = "no trade yet" if last is None else price_text(last, tick_size)
    return (
        f"<div class='sm-when' style='color:{theme.muted}'>last <b style='color:{theme.text}'>{price}</b> · "
        f"cursor <b style='color:{theme.text}'>{begin}</b>–{end} New York</div>"
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
    where = escape(root)
    return (
        "<div class='sm-card'><h2>No session in the lake yet</h2>"
        f"<p>The lake <code>{where}</code> has no price ladder. Two commands make one from Databento files (GLBX.MDP3, schema mbo):</p>"
        f"<pre>spymaster add --lake {where} path/to/files\nspymaster run --lake {where} --product-type future_mbo --layer all "
        "--symbol ESH4 --dates 2023-12-25 --session globex_open</pre>"
        "<p>Then reload this page. Another lake: <code>spymaster serve --lake DIR</code>.</p></div>"
    )
