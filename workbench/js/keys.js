// Whether a view may want to know of the key; which of them it acts on it says itself.
const isViewKey = (key) => /^[1-9]$/.test(key) ||
  ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "[", "]", "Home", "End"].includes(key);

export function render({ model, el }) {
  el.style.display = "none";
  let n = 0;
  const inField = (e) => e.composedPath().some((t) => t.tagName && (/^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) ||
    t.isContentEditable || ["listbox", "slider", "combobox"].includes(t.getAttribute?.("role"))));
  const onKey = (e) => {
    if (!model.active || e.ctrlKey || e.metaKey || e.altKey || inField(e)) return;
    if (!isViewKey(e.key)) return;
    e.preventDefault();
    model.pressed = { key: e.key, shift: e.shiftKey, n: ++n };
  };
  window.addEventListener("keydown", onKey);
  // Figures stand a moment after the page.
  const tell = (left) => {
    const views = bokeh.viewsNamed(model.figures);
    for (const v of views) {
      bokeh.element(v).setAttribute("role", "figure");
      bokeh.element(v).setAttribute("aria-label", model.figures[bokeh.name(v)]);
    }
    if (views.length < Object.keys(model.figures).length && left) setTimeout(() => tell(left - 1), 500);
  };
  setTimeout(() => tell(10), 300);
  model.on("remove", () => window.removeEventListener("keydown", onKey));
  return document.createElement("span");
}
