export function render({ view }) {
  const box = document.createElement("div"), text = document.createElement("span"), again = document.createElement("button");
  box.className = "lost"; box.hidden = true;
  box.setAttribute("role", "alert");
  again.type = "button"; again.textContent = "Reload";
  again.addEventListener("click", () => location.reload());
  const doc = bokeh.pageOf(view);
  // The words are put in when they are true: a screen reader says what comes into an alert.
  doc.on_event("connection_lost", () => {
    text.textContent = "The connection to the server is lost: what you see does not react any more.";
    box.replaceChildren(text, again);
    box.hidden = false;
  });
  doc.on_event("client_reconnected", () => { box.hidden = true; box.replaceChildren(); });
  const mark = (left) => {
    const stages = bokeh.viewsOfClass("sm-stage");
    for (const v of stages) bokeh.element(v).setAttribute("role", "main");
    if (!stages.length && left) setTimeout(() => mark(left - 1), 300);
  };
  setTimeout(() => mark(20), 100);
  const walk = function* (node) {
    for (const e of node.children ?? []) {
      yield e;
      if (e.shadowRoot) yield* walk(e.shadowRoot);
      yield* walk(e);
    }
  };
  const reachable = () => {
    for (const e of walk(document)) {
      if (e.classList.contains("bk-tool-overflow") && !e.getAttribute("aria-label")) e.setAttribute("aria-label", "More tools");
      const tool = e.classList.contains("bk-tool-icon") ? e.getRootNode().host : null;
      if (!tool || tool.getAttribute("role")) continue;
      tool.setAttribute("role", "button");
      tool.setAttribute("aria-label", tool.title || "Tool of the figure");
      tool.addEventListener("keydown", (k) => {
        if (k.key !== " ") return;
        k.preventDefault(); k.stopPropagation();  // Space plays and pauses elsewhere
        tool.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
      });
    }
  };
  // When the Tab key is first used on what there is then: figures come with their views, and a pointer needs none of this.
  window.addEventListener("keydown", (e) => { if (e.key === "Tab") reachable(); }, true);
  return box;
}
