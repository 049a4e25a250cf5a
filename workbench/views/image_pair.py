"""Two pictures beside or over each other, the same place of both enlarged, a place to drop one, and the way out of the page for one."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.views.components import MAKE

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
.detail, .spot { display: none; }
.stage.beside .frame.pic { flex: 0 1 auto; aspect-ratio: var(--ratio); cursor: crosshair; }
.stage.beside .frame.pic:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 1px; }
.stage.beside .frame.pic ~ .detail { display: block; flex: 1 1 0; min-height: 0; position: relative; box-sizing: border-box;
  border: 1px solid var(--sm-edge); border-radius: 6px; background: var(--sm-panel) no-repeat; overflow: hidden; }
.stage.beside .frame.pic .spot { display: block; position: absolute; box-sizing: border-box; pointer-events: none;
  border: 1px solid #fff; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; }
.detail span { position: absolute; right: 0; bottom: 0; padding: 2px 8px; font: 12px var(--sm-font); color: var(--sm-muted);
  background: var(--sm-panel); border-top-left-radius: 6px; }
.stage.beside .low.detail, .stage.beside .low .spot { visibility: hidden; }
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

    Two that stand beside each other are as large as the width lets them be; the height that is left has the same place of both, enlarged:
    the one under the pointer, or where the arrow keys have moved it.
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
      // The enlarged place, as shares of a picture's width and height: at first the level at the moment.
      const at = { x: 0.62, y: 0.42 }, LOW = 90;
      const within = (v, most) => Math.min(Math.max(v, 0), Math.max(most, 0));
      const figure = () => {
        const img = make("img"), said = make("p", { className: "said" }), guide = make("div", { className: "guide" });
        const spot = make("div", { className: "spot" }), hint = make("span", { textContent: "enlarged: the place under the pointer" });
        const frame = make("div", { className: "frame" }, [said, guide, img, spot]), cap = make("figcaption");
        const detail = make("div", { className: "detail" }, [hint]);
        const e = make("figure", {}, [cap, frame, detail]);
        // How large the picture is drawn in its frame, and where it begins there: as `contain` and `top` have it.
        const drawn = () => {
          const r = Math.min(frame.clientWidth / img.naturalWidth, frame.clientHeight / img.naturalHeight);
          const w = img.naturalWidth * r, h = img.naturalHeight * r;
          return { w, h, x: (frame.clientWidth - w) / 2 };
        };
        e.enlarge = () => {
          if (!stage.classList.contains("beside") || !img.naturalWidth || !frame.classList.contains("pic")) return;
          const d = drawn(), dw = detail.clientWidth, dh = detail.clientHeight;
          // Never smaller than the picture's own pixels: its smallest words can be read.
          const w = Math.max(img.naturalWidth, 1.6 * d.w), h = w * img.naturalHeight / img.naturalWidth;
          const x = within(at.x * w - dw / 2, w - dw), y = within(at.y * h - dh / 2, h - dh);
          detail.classList.toggle("low", dh < LOW); frame.classList.toggle("low", dh < LOW);
          detail.style.backgroundSize = `${w}px ${h}px`;
          detail.style.backgroundPosition = `${-x}px ${-y}px`;
          const k = d.w / w;
          Object.assign(spot.style, { left: `${d.x + x * k}px`, top: `${y * k}px`,
            width: `${Math.min(dw, w) * k}px`, height: `${Math.min(dh, h) * k}px` });
        };
        frame.addEventListener("pointermove", (p) => {
          if (!img.naturalWidth) return;
          const box = frame.getBoundingClientRect(), d = drawn();
          move((p.clientX - box.left - d.x) / d.w, (p.clientY - box.top) / d.h);
        });
        frame.addEventListener("keydown", (k) => {
          const by = { ArrowLeft: [-0.04, 0], ArrowRight: [0.04, 0], ArrowUp: [0, -0.04], ArrowDown: [0, 0.04] }[k.key];
          if (!by || frame.tabIndex < 0) return;
          k.preventDefault(); k.stopPropagation();
          move(at.x + by[0], at.y + by[1]);
        });
        e.reach = (on) => {
          const here = on && frame.classList.contains("pic");
          frame.tabIndex = here ? 0 : -1;
          for (const [name, value] of [["role", "group"], ["aria-label", "Arrow keys move the place that is enlarged below"]]) {
            if (here) frame.setAttribute(name, value); else frame.removeAttribute(name);
          }
        };
        img.addEventListener("load", () => {
          frame.style.setProperty("--ratio", `${img.naturalWidth} / ${img.naturalHeight}`);
          detail.style.backgroundImage = `url("${img.src}")`;
          e.enlarge();
        });
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
      const move = (x, y) => { at.x = within(x, 1); at.y = within(y, 1); a.enlarge(); b.enlarge(); };
      const a = figure(), b = figure();
      const stage = make("div", { className: "stage" }, [a, b]);
      const slider = make("input", { type: "range", min: 0, max: 100, value: 50 });
      slider.setAttribute("aria-label", "Share of the first picture");
      const lay = () => {
        // With nothing to swipe over, the guide stays beside the moment.
        const guided = Boolean(model.first.guide), swipe = model.swipe && !guided;
        stage.className = swipe ? "stage swipe" : guided ? "stage guided" : "stage beside";
        for (const f of [a, b]) { f.reach(!swipe && !guided); f.enlarge(); }
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
      // The height that is left changes with the window, and with what is said above.
      const size = new ResizeObserver(() => { a.enlarge(); b.enlarge(); });
      size.observe(stage); size.observe(a.lastChild); size.observe(b.lastChild);
      model.on("remove", () => size.disconnect());
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
