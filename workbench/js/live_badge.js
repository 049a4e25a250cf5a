// A word about the feed, with a shape besides its colour, and the way back to its end. Its age is told from here too: a server that does not
// answer cannot say how old its picture is.
const SHAPES = { LIVE: "●", QUIET: "○", CLOSED: "○", "CATCHING UP": "↻", RECONNECTING: "↻", DELAYED: "▲", GAP: "▲", STOPPED: "■", SLOW: "▲" };
const ASIDE = ["QUIET", "CLOSED"], LATE_MS = 5000;

export function render({ model }) {
  const shape = make("span", { className: "shape" }), text = make("span", { className: "text" });
  shape.setAttribute("aria-hidden", "true");
  const badge = make("div", { className: "badge" }, [shape, text]);
  badge.setAttribute("role", "status");
  const back = make("button", { type: "button", title: "To the newest second, and on with it (g)" });
  back.addEventListener("click", () => { model.back += 1; });
  const box = make("div", { className: "live" }, [badge, back]);
  let heard = performance.now();
  const show = () => {
    const s = model.said, silent = performance.now() - heard;
    box.hidden = !s.word;
    if (!s.word) return;
    const late = silent > LATE_MS && !document.hidden, word = late ? "SLOW" : s.word;
    shape.textContent = SHAPES[word] || "▲";
    text.textContent = late ? `no answer for ${Math.round(silent / 1000)} s` : s.text;
    badge.title = s.tip;
    badge.dataset.word = ASIDE.includes(word) || word === "LIVE" ? word.toLowerCase() : word === "STOPPED" ? "stopped" : "late";
    // Beside the way back there is no room for words: the shape stays, and the rest is told on hover.
    text.hidden = !s.following && badge.dataset.word !== "stopped";
    back.hidden = s.following;
    back.textContent = s.behind < 60 ? `${s.behind} s behind, go live` : `${Math.floor(s.behind / 60)} min behind, go live`;
  };
  const timer = setInterval(show, 1000);
  show();
  model.on("said", () => { heard = performance.now(); show(); });
  model.on("remove", () => clearInterval(timer));
  return box;
}
