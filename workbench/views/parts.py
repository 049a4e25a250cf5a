"""The page's own small elements: a row of choices with live figures, and the keyboard."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

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


class Wardrobe(JSComponent):
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
