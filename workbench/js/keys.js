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
    const views = bokeh.views((v) => v.model.name in model.figures);
    for (const v of views) { v.el.setAttribute("role", "figure"); v.el.setAttribute("aria-label", model.figures[v.model.name]); }
    if (views.length < Object.keys(model.figures).length && left) setTimeout(() => tell(left - 1), 500);
  };
  setTimeout(() => tell(10), 300);
  model.on("remove", () => window.removeEventListener("keydown", onKey));
  return document.createElement("span");
}
