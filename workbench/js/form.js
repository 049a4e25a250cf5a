export function render({ model, el }) {
  const box = document.createElement("div");
  let n = 0;
  // Of a slider that is drawn the newest value counts; each press of a button, and each text, is an act of its own.
  const settings = () => model.fields.filter((f) => ["slider", "select", "toggle"].includes(f.kind)).map((f) => f.name);
  const tell = inOrder((name, value) => { model.changed = { name, value, n: ++n }; }, (name, a, b) => (settings().includes(name) ? b : undefined));
  model.on("answered", () => { if (tell.answered()) fill(); });
  const shown = new Map();
  const build = {
    heading: (f) => make("h3", { textContent: f.label }),
    slider: (f) => {
      const out = make("output"), input = make("input", { type: "range", min: f.min, max: f.max, step: f.step });
      input.setAttribute("aria-label", f.label);
      input.addEventListener("input", () => { out.textContent = input.value; tell(f.name, Number(input.value)); });
      shown.set(f.name, (v) => { input.value = v; out.textContent = String(v); });
      return make("label", {}, [make("span", { className: "name" }, [f.label, out]), input]);
    },
    select: (f) => {
      const input = make("select", { title: f.label }, f.options.map((text, i) => make("option", { value: i, textContent: text })));
      input.setAttribute("aria-label", f.label);
      input.addEventListener("change", () => tell(f.name, Number(input.value)));
      shown.set(f.name, (v) => { input.value = v; });
      return make("label", {}, [make("span", { className: "name", textContent: f.label }), input]);
    },
    group: (f) => {
      const all = f.options.map((text, i) => {
        const b = make("button", { type: "button", textContent: text });
        b.addEventListener("click", () => tell(f.name, i));
        return b;
      });
      shown.set(f.name, (v) => all.forEach((b, i) => b.setAttribute("aria-pressed", String(i === v))));
      const group = make("div", { className: "group" }, all);
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", f.label);
      return make("div", { className: "field" }, [make("span", { className: "name", textContent: f.label }), group]);
    },
    text: (f) => {
      const input = make("input", { type: "text", placeholder: f.hint || "", title: f.label });
      input.setAttribute("aria-label", f.label);
      input.addEventListener("change", () => tell(f.name, input.value));
      shown.set(f.name, (v) => { input.value = v; });
      return make("label", {}, [make("span", { className: "name", textContent: f.label }), input]);
    },
    toggle: (f) => {
      const b = make("button", { type: "button", className: "icon", textContent: f.icon, title: f.label });
      b.setAttribute("aria-label", f.label);
      let on = false;
      const put = (v) => { on = v; b.setAttribute("aria-pressed", String(v)); };
      b.addEventListener("click", () => {
        put(!on);
        // Who can do it without the server, the theme say, does it at once.
        b.dispatchEvent(new CustomEvent("sm-toggle", { bubbles: true, composed: true, detail: { name: f.name, on } }));
        tell(f.name, on);
      });
      shown.set(f.name, put);
      return b;
    },
  };
  // An answer to an earlier change must not take back what has been changed since.
  const fill = () => { if (!tell.busy()) for (const [name, put] of shown) if (name in model.values) put(model.values[name]); };
  const draw = () => {
    box.className = model.row ? "form row" : "form";
    shown.clear();
    box.replaceChildren(...model.fields.map((f) => build[f.kind](f)));
    fill();
  };
  draw();
  model.on("fields", draw);
  model.on("values", fill);
  return box;
}
