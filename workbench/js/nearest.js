// Points of a path in a picture 100 wide and 100 high, `reach` ticks above and below the middle (what is further lies outside); a gap where there is no number.
const pathLine = (path, reach) => {
  let pen = false;
  return path.map((v, i) => {
    if (v === null) { pen = false; return ""; }
    const x = 100 * i / Math.max(path.length - 1, 1), y = 50 - 50 * v / (reach + 1);
    const to = `${pen ? "L" : "M"}${+x.toFixed(1)},${+y.toFixed(1)}`;
    pen = true;
    return to;
  }).join("");
};

export function render({ model }) {
  const box = make("div", { className: "nearest" });
  box.setAttribute("role", "group");
  const NS = "http://www.w3.org/2000/svg";
  const shape = (cls, d) => {
    const e = document.createElementNS(NS, "path");
    e.setAttribute("class", cls); e.setAttribute("d", d);
    return e;
  };
  const card = (c) => {
    const b = make("button", { type: "button", title: `${c.tip}; opens Neighbours${c.said ? `. No picture: ${c.said}` : ""}` });
    b.setAttribute("aria-label", b.title);
    const end = make("b", { className: c.ink, textContent: c.end });
    b.append(make("span", { className: "head" }, [make("span", { textContent: c.when[0] }), make("span", { className: "time", textContent: c.when[1] }), end]));
    if (c.said) b.append(make("span", { className: "said", textContent: c.said }));
    else {
      const svg = document.createElementNS(NS, "svg");
      svg.setAttribute("viewBox", "0 0 100 100"); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("aria-hidden", "true");
      const line = pathLine(c.path, model.reach);
      svg.append(shape("level", "M0,50L100,50"), shape("casing", line), shape("path", line));
      b.append(svg);
    }
    b.addEventListener("click", () => { model.opened = model.opened + 1; });
    return b;
  };
  const draw = () => {
    box.setAttribute("aria-label", model.head || "Nearest setups");
    box.replaceChildren(make("span", { className: "what", textContent: model.head }), ...model.cards.map(card));
  };
  const dim = () => box.classList.toggle("dim", model.dim);
  draw(); dim();
  model.on("cards", draw); model.on("head", draw); model.on("dim", dim);
  return box;
}
