"""Two pictures beside or over each other, a place to drop one, and the way out of the page for one."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.views.elements import MAKE

MAX_UPLOAD = 12_000_000
"""Bytes of a dropped picture: what fits through the page's connection as text; pictures drawn here have a twentieth of it."""

PAIR_CSS = """
:host { width: 100%; height: 100%; }
.pair { display: flex; flex-direction: column; gap: 8px; height: 100%; font: 14px var(--sm-font); color: var(--sm-text); }
.stage { flex: 1 1 auto; min-height: 0; display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
.stage.swipe { grid-template-columns: 1fr; }
.stage.guided { grid-template-columns: minmax(320px, 26%) 1fr; }
figure { margin: 0; min-width: 0; min-height: 0; display: flex; flex-direction: column; gap: 4px; }
.stage.swipe figure { grid-area: 1 / 1; }
figcaption { color: var(--sm-muted); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.stage.swipe figure:last-child figcaption { text-align: right; }
.frame { flex: 1 1 auto; min-height: 0; position: relative; border: 1px solid var(--sm-edge); border-radius: 6px; overflow: hidden;
  background: var(--sm-panel); display: flex; align-items: center; justify-content: center; }
.stage.swipe figure:last-child .frame { background: transparent; }
.frame img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.frame img { object-position: top; }
.frame.pic { border-color: transparent; background: transparent; }
.frame .said { color: var(--sm-muted); padding: 20px; text-align: center; max-width: 46ch; line-height: 1.5; margin: 0; }
.frame .said:empty { display: none; }
.guide { width: 100%; height: 100%; box-sizing: border-box; overflow-y: auto; padding: 18px 22px; line-height: 1.5; }
.guide h2 { margin: 0 0 10px; font: 600 18px var(--sm-font); }
.guide h3 { margin: 18px 0 4px; font: 600 14px var(--sm-font); }
.guide p { margin: 0 0 8px; color: var(--sm-muted); }
.guide pre { margin: 4px 0 8px; padding: 8px 10px; border: 1px solid var(--sm-edge); border-radius: 6px; background: var(--sm-page);
  font: 13px/1.5 var(--sm-mono); white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
.guide button { background: var(--sm-page); color: var(--sm-text); border: 1px solid var(--sm-level); border-radius: 6px; padding: 7px 12px;
  min-height: 34px; font: 600 14px var(--sm-font); cursor: pointer; }
.guide button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 2px; }
.drop { border: 2px dashed var(--sm-edge); border-radius: 8px; padding: 8px 14px; display: flex; gap: 14px; align-items: center; }
.drop.over { border-color: var(--sm-level); background: var(--sm-panel); }
.drop input { position: absolute; width: 1px; height: 1px; opacity: 0; }
.drop label { border: 1px solid var(--sm-edge); border-radius: 6px; padding: 7px 12px; cursor: pointer; font-weight: 600; }
.drop label:hover { border-color: var(--sm-level); }
.drop input:focus-visible + label { outline: 2px solid var(--sm-level); outline-offset: 1px; }
input[type=range] { width: 100%; accent-color: var(--sm-level); margin: 0; }
"""


class Pair(JSComponent):
    """A picture and the same moment drawn here.

    `first` and `second` have ``src`` (a data URL) and ``title``; or ``said``; or ``guide``, what can be done in the picture's place: a
    list of ``[heading, text, command, button]``, each empty where there is none.
    """

    first = param.Dict(default={}, doc="Picture that was chosen or dropped")
    second = param.Dict(default={}, doc="The same moment drawn here")
    swipe = param.Boolean(default=False, doc="Over each other, with a slider between them")
    limit = param.Integer(default=MAX_UPLOAD, doc="Bytes of a dropped picture")
    dropped = param.Dict(default={}, doc="What was dropped: name, base64 text or error, running number")
    saved = param.Dict(default={}, doc="Picture to hand out: name, src, running number")
    pushed = param.Dict(default={}, doc="Button of the guide: its words, running number")

    _stylesheets: ClassVar[list[str]] = [PAIR_CSS]
    _esm = (
        MAKE
        + """
    export function render({ model, el }) {
      let n = 0;
      const figure = () => {
        const img = make("img"), said = make("p", { className: "said" }), guide = make("div", { className: "guide" });
        const frame = make("div", { className: "frame" }, [said, guide, img]), cap = make("figcaption");
        const e = make("figure", {}, [cap, frame]);
        e.show = (d) => {
          cap.textContent = cap.title = d.title || "";
          said.textContent = d.said || "";
          guide.replaceChildren(...(d.guide || []).flatMap(([head, text, command, act], i) => {
            const out = [make(i ? "h3" : "h2", { textContent: head }), make("p", { textContent: text })];
            if (command) out.push(make("pre", { textContent: command }));
            if (act) {
              const b = make("button", { type: "button", textContent: act });
              b.addEventListener("click", () => { model.pushed = { act, n: ++n }; });
              out.push(b);
            }
            return out;
          }));
          guide.style.display = d.guide ? "" : "none";
          img.style.display = d.src ? "" : "none";
          frame.classList.toggle("pic", Boolean(d.src));
          if (d.src && img.src !== d.src) { img.src = d.src; }
          img.alt = d.title || "";
        };
        e.clip = (share) => { frame.style.clipPath = share === null ? "" : `inset(0 0 0 ${share}%)`; };
        return e;
      };
      const a = figure(), b = figure();
      const stage = make("div", { className: "stage" }, [a, b]);
      const slider = make("input", { type: "range", min: 0, max: 100, value: 50 });
      slider.setAttribute("aria-label", "Share of the first picture");
      const lay = () => {
        // With nothing to swipe over, the guide stays beside the moment.
        const guided = Boolean(model.first.guide), swipe = model.swipe && !guided;
        stage.className = swipe ? "stage swipe" : guided ? "stage guided" : "stage";
        slider.style.display = swipe ? "" : "none";
        b.clip(swipe ? Number(slider.value) : null);
      };
      slider.addEventListener("input", lay);
      const take = async (file) => {
        if (!file) return;
        if (file.size > model.limit) {
          model.dropped = { name: file.name.slice(0, 200), error: `${Math.round(file.size / 1e6)} MB`, n: ++n };
          return;
        }
        const reader = new FileReader();
        reader.onload = () => {
          model.dropped = { name: file.name.slice(0, 200), data: String(reader.result).split(",")[1] || "", n: ++n };
        };
        reader.readAsDataURL(file);
      };
      const input = make("input", { type: "file", accept: "image/png", id: "file" });
      input.addEventListener("change", () => { take(input.files[0]); input.value = ""; });
      const label = make("label", { textContent: "Choose a picture" });
      label.setAttribute("for", "file");
      const drop = make("div", { className: "drop" }, [input, label,
        make("span", { textContent: "or drop a SETUP picture (PNG) anywhere here: one that was saved here opens its very moment." })]);
      const box = make("div", { className: "pair" }, [drop, slider, stage]);
      for (const kind of ["dragenter", "dragover"]) box.addEventListener(kind, (e) => { e.preventDefault(); drop.classList.add("over"); });
      for (const kind of ["dragleave", "drop"]) box.addEventListener(kind, (e) => { e.preventDefault(); drop.classList.remove("over"); });
      box.addEventListener("drop", (e) => take(e.dataTransfer.files[0]));
      const show = () => { a.show(model.first); b.show(model.second); lay(); };
      show();
      model.on("first", show); model.on("second", show); model.on("swipe", lay);
      model.on("saved", () => {
        if (!model.saved.src) return;
        make("a", { href: model.saved.src, download: model.saved.name }).click();
      });
      return box;
    }
    """
    )
