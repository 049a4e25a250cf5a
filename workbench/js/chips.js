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
