export function render({ model, el }) {
  let n = 0;
  const choice = make("select"), said = make("div", { className: "said" });
  choice.setAttribute("aria-label", "Table to save");
  said.setAttribute("role", "status");
  const fill = () => choice.replaceChildren(...model.labels.map((text, i) => make("option", { value: i, textContent: text })));
  const button = (kind, text) => {
    const b = make("button", { type: "button", textContent: text });
    b.addEventListener("click", () => {
      said.textContent = "Making the file …";
      model.asked = { which: Number(choice.value), kind, n: ++n };
    });
    return b;
  };
  const show = () => { said.textContent = model.said.text || ""; said.className = model.said.bad ? "said bad" : "said"; };
  model.on("labels", fill); model.on("said", show);
  model.on("file", () => {
    const f = model.file;
    if (!f.data) return;
    const text = atob(f.data), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const url = URL.createObjectURL(new Blob([bytes], { type: f.mime }));
    make("a", { href: url, download: f.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    model.taken = f.n;
  });
  fill();
  return make("div", { className: "form save" }, [make("h3", { textContent: "Save what is shown" }), choice,
    make("div", { className: "group" }, [button("csv", "CSV"), button("parquet", "Parquet")]), said]);
}
