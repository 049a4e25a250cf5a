// What a live morning needs, each with a sign and a word besides its colour, and the time until the session begins.
const STATES = { ok: ["✓", "ok"], note: ["!", "goes on without"], stop: ["✕", "to be done first"] };
const until = (s) => {
  const two = (n) => String(n).padStart(2, "0"), minutes = Math.floor(s / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${two(minutes % 60)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
};

export function render({ model }) {
  const left = make("div", { className: "left" }), begins = make("p", { className: "begins" });
  const list = make("ul"), at = make("span"), instead = make("button", { type: "button" });
  left.setAttribute("role", "timer");
  instead.addEventListener("click", () => { model.instead += 1; });
  let taken = performance.now(), drawn = "";
  const tick = () => {
    const s = Math.round(model.said.left_s - (performance.now() - taken) / 1000);
    left.textContent = s > 0 ? `in ${until(s)}` : "";
  };
  const item = ([state, what, text]) => {
    const [sign, word] = STATES[state], mark = make("span", { className: "sign", textContent: sign });
    mark.setAttribute("aria-hidden", "true");
    const li = make("li", {}, [mark, make("b", { textContent: what }), make("span", { className: "word", textContent: word }),
      make("span", { className: "text" }, withCommands(text))]);
    li.dataset.state = state;
    return li;
  };
  const show = () => {
    const { said } = model;
    if (!said.checks) return;
    taken = performance.now();
    begins.textContent = said.begins;
    at.textContent = `Looked at ${said.at} New York, and again every few seconds. The picture opens here by itself.`;
    // What has not changed stays in the page: a command may be selected in it.
    const now = JSON.stringify(said.checks);
    if (now !== drawn) { drawn = now; list.replaceChildren(...said.checks.map(item)); }
    tick();
  };
  const offer = () => {
    instead.hidden = !model.other;
    instead.textContent = `Show ${model.other} instead`;
  };
  const timer = setInterval(() => { if (model.said.checks) tick(); }, 1000);
  show(); offer();
  model.on("said", show);
  model.on("other", offer);
  model.on("remove", () => clearInterval(timer));
  const head = make("div", { className: "head" }, [make("h2", { textContent: "Before the session" }), left]);
  const box = make("section", { className: "needs" }, [head, begins, list, make("div", { className: "foot" }, [at, instead])]);
  box.setAttribute("aria-label", "Before the session");
  return box;
}
