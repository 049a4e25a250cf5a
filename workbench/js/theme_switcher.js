export function render({ model, el }) {
  el.style.display = "none";
  const change = (e) => {
    const theme = e.detail.on ? "light" : "dark", look = model.looks[theme];
    if (e.detail.name !== "light" || !model.active || !look) return;
    const [first] = Object.keys(look);
    const page = bokeh.documentOf(first);
    // Not sent to the server, which sets it itself: where it is set already, nothing is painted again.
    for (const [id, values] of Object.entries({ ...look, ...model.palettes[theme] })) {
      const said = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, bokeh.spec(v)]));
      bokeh.setQuietly(page, id, said);
    }
    window.dispatchEvent(new CustomEvent("sm-theme-applied", { detail: theme }));
  };
  window.addEventListener("sm-toggle", change);
  model.on("remove", () => window.removeEventListener("sm-toggle", change));
  return document.createElement("span");
}
