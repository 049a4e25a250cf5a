"""The page's controls: one element for any number of fields, made from the state's own parameters.

Plain inputs of the browser, styled once: they take the keyboard and screen readers as they are, and a dozen of them cost
the page less than one widget of a component library did.
"""

from __future__ import annotations

from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from workbench.views.elements import MAKE, ONE_AT_A_TIME

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


def field(state: param.Parameterized, name: str, label: str, *, kind: str = "", **more: Any) -> dict[str, Any]:
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
