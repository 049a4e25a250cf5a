export function render({ model, el }) {
  const box = document.createElement("div"), list = document.createElement("ul"), close = document.createElement("button");
  box.className = "said";
  list.setAttribute("role", "alert");
  close.type = "button"; close.textContent = "✕"; close.title = "Close this notice";
  close.setAttribute("aria-label", "Close this notice");
  close.addEventListener("click", () => { model.closed = model.closed + 1; });
  box.append(list, close);
  const line = (text) => {
    const li = document.createElement("li");
    li.append(...withCommands(text));
    return li;
  };
  const draw = () => {
    const all = [...new Set(model.lines)].map(line);
    if (model.reload) {
      const li = line(model.reload + " "), again = document.createElement("button");
      again.type = "button"; again.textContent = "Reload";
      again.addEventListener("click", () => location.reload());
      li.append(again); all.push(li);
    }
    list.replaceChildren(...all);
    box.hidden = all.length === 0;
  };
  draw();
  model.on("lines", draw); model.on("reload", draw);
  return box;
}
