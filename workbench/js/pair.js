const within = (v, most) => Math.min(Math.max(v, 0), Math.max(most, 0));

export function render({ model, el }) {
  let n = 0;
  // The enlarged place, as shares of a picture's width and height: at first the level at the moment.
  const at = { x: 0.62, y: 0.42 }, LOW = 90;
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
