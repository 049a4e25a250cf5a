// The price axis at the left of a figure: dragged up or down it stretches the prices around their middle, a double click on the figure fits
// them again. `tell(fit)` says which of the two.
const stretched = (start, end, pixels) => {
  const middle = (start + end) / 2, half = (end - start) / 2 * Math.exp(pixels / 200);
  return { start: middle - half, end: middle + half };
};
const priceAxis = (name, tell) => {
  let held = null;
  const figure = () => { const v = bokeh.figure(name); return v && !bokeh.isGone(v) ? v : null; };
  const over = (e) => {
    const view = figure();
    if (!view) return null;
    const box = bokeh.element(view).getBoundingClientRect(), x = e.clientX - box.left, y = e.clientY - box.top;
    return x < 0 || y < 0 || x > box.width || y > box.height ? null : { view, axis: x < bokeh.frame(view).bbox.left };
  };
  const down = (e) => {
    const at = over(e);
    if (!at?.axis || e.button) return;
    const { start, end } = bokeh.prices(at.view);
    held = { view: at.view, y: e.clientY, start, end };
    e.preventDefault(); e.stopPropagation();
  };
  const drag = (e) => { if (held) bokeh.setPrices(held.view, stretched(held.start, held.end, e.clientY - held.y)); };
  const up = (e) => {
    if (held && e.clientY !== held.y) tell(false);
    held = null;
  };
  const twice = (e) => { if (over(e)) tell(true); };
  const all = [["pointerdown", down], ["pointermove", drag], ["pointerup", up], ["dblclick", twice]];
  for (const [kind, f] of all) window.addEventListener(kind, f, true);
  return () => { for (const [kind, f] of all) window.removeEventListener(kind, f, true); };
};
