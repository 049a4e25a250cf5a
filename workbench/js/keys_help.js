// Whether a key is typed into a field, and so is none of the page's.
export const typedIn = (path) => path.some((e) => e.matches?.("input[type=text], input[type=number], textarea, select"));

export function render({ model }) {
  const box = document.createElement("div"), card = document.createElement("div");
  box.className = "help"; box.hidden = true;
  card.className = "keys-card"; card.tabIndex = -1;
  card.setAttribute("role", "dialog");
  card.setAttribute("aria-label", "Keys of this view");
  box.append(card);
  let before = null;
  const show = (on) => {
    if (on === !box.hidden) return;
    box.hidden = !on;
    if (on) { before = document.activeElement; card.innerHTML = model.html; card.focus(); } else before?.focus?.();
  };
  const onKey = (e) => {
    if (e.key === "?" && !e.ctrlKey && !e.metaKey && !e.altKey && !typedIn(e.composedPath())) {
      e.preventDefault();
      show(box.hidden);
    } else if (!box.hidden) {
      // Nothing behind the overlay hears the keys that are read about in it.
      e.stopImmediatePropagation();
      if (e.key === "Escape") { e.preventDefault(); show(false); }
    }
  };
  window.addEventListener("keydown", onKey, true);
  model.on("remove", () => window.removeEventListener("keydown", onKey, true));
  model.on("html", () => { card.innerHTML = model.html; });
  box.addEventListener("click", () => show(false));
  return box;
}
