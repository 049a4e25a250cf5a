export function render({ model, el }) {
  bokeh.waitForWords();
  const box = document.createElement("div");
  box.className = "tabs";
  box.setAttribute("role", "tablist");
  box.setAttribute("aria-label", "View");
  // A canvas that ends within a pixel paints that pixel in part only: of the old colours a line would stay.
  const wipe = (canvas) => {
    const { width: w, height: h } = canvas, ctx = canvas.getContext("2d");
    ctx.save();
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    for (const edge of [[0, 0, w, 1], [0, h - 1, w, 1], [0, 0, 1, h], [w - 1, 0, 1, h]]) ctx.clearRect(...edge);
    ctx.restore();
  };
  let again = 0;
  const due = new Set();
  const there = (v) => bokeh.element(v).getClientRects().length > 0;
  const settle = () => {
    for (const v of due) {
      if (!bokeh.isGone(v) && !there(v)) continue;
      due.delete(v);
      if (!bokeh.isGone(v)) { wipe(bokeh.canvas(v)); bokeh.repaint(v); }
    }
  };
  // Once more: what plays may have painted in the old colours meanwhile, and a hidden view does when it comes back, until it is asked to.
  const later = () => { clearTimeout(again); again = setTimeout(settle, 500); };
  const applyTheme = (theme) => {
    if (document.documentElement.dataset.smTheme === theme) return;
    document.documentElement.dataset.smTheme = theme;
    for (const view of bokeh.painted()) { wipe(bokeh.canvas(view)); due.add(view); }
    later();
  };
  applyTheme(model.theme);
  model.on("theme", () => applyTheme(model.theme));
  // Of a view that has put the theme on its figures itself, before the server has answered.
  const early = (e) => applyTheme(e.detail);
  window.addEventListener("sm-theme-applied", early);
  model.on("remove", () => window.removeEventListener("sm-theme-applied", early));
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
