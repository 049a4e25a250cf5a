// A word about the feed, with a shape besides its colour, and the way back to its end. Its age is told from here too: a server that does not
// answer cannot say how old its picture is.
const SHAPES = { LIVE: "●", QUIET: "○", CLOSED: "○", "CATCHING UP": "↻", RECONNECTING: "↻", DELAYED: "▲", GAP: "▲", STOPPED: "■", SLOW: "▲" };
const ASIDE = ["QUIET", "CLOSED"], LATE_MS = 5000;

export function render({ model }) {
  const shape = make("span", { className: "shape" }), text = make("span", { className: "text" });
  shape.setAttribute("aria-hidden", "true");
  const badge = make("div", { className: "badge" }, [shape, text]);
  badge.setAttribute("role", "status");
  const back = make("button", { type: "button", className: "back", title: "To the newest second, and on with it (g)" });
  back.addEventListener("click", () => { model.back += 1; });
  // Alerts: the newest for some seconds beside the badge, the last ones in a list; each leads to its moment.
  const bell = make("button", { type: "button", className: "bell", title: "The last alerts" });
  const latest = make("button", { type: "button", className: "latest", hidden: true });
  latest.setAttribute("role", "status");
  const armed = make("input", { type: "checkbox" });
  const items = make("div", { className: "items" });
  const list = make("div", { className: "list", hidden: true }, [
    make("label", {}, [armed, "sound, and a notice on the desktop"]), items,
  ]);
  bell.setAttribute("aria-expanded", "false");
  bell.addEventListener("click", () => {
    list.hidden = !list.hidden;
    bell.setAttribute("aria-expanded", String(!list.hidden));
  });
  let sound = null, seen = 0, hide = 0, first = true;
  // Browsers let a page sound and notify only after the trader's own act.
  armed.addEventListener("change", () => {
    if (!armed.checked) return;
    sound ||= new AudioContext();
    sound.resume();
    if ("Notification" in window && Notification.permission === "default") Notification.requestPermission();
  });
  const beep = () => {
    const tone = sound.createOscillator(), loud = sound.createGain(), t = sound.currentTime;
    tone.frequency.value = 880;
    loud.gain.setValueAtTime(0.12, t);
    loud.gain.exponentialRampToValueAtTime(0.001, t + 0.35);
    tone.connect(loud).connect(sound.destination);
    tone.start(t);
    tone.stop(t + 0.35);
  };
  const words = (a) => `${a.clock} ${a.text}`;
  const jump = (a) => () => { model.jump = a.at; };
  const showAlerts = () => {
    bell.hidden = !model.said.word;
    bell.textContent = model.alerts.length ? `${model.alerts.length} alerts` : "no alerts";
    items.replaceChildren(...model.alerts.map((a) => {
      const b = make("button", { type: "button", textContent: words(a) });
      b.addEventListener("click", jump(a));
      return b;
    }));
    const fresh = model.alerts.filter((a) => a.n > seen);
    seen = Math.max(seen, ...model.alerts.map((a) => a.n));
    // What was told before this page was opened is in the list.
    if (first || !fresh.length) { first = false; return; }
    latest.textContent = words(fresh[0]);
    latest.onclick = jump(fresh[0]);
    latest.hidden = false;
    clearTimeout(hide);
    hide = setTimeout(() => { latest.hidden = true; }, 10000);
    if (!armed.checked) return;
    beep();
    if ("Notification" in window && Notification.permission === "granted") new Notification("spymaster", { body: words(fresh[0]) });
  };
  const box = make("div", { className: "live" }, [badge, back, bell, list, latest]);
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
  showAlerts();
  model.on("said", () => { heard = performance.now(); show(); bell.hidden = !model.said.word; });
  model.on("alerts", showAlerts);
  model.on("remove", () => clearInterval(timer));
  return box;
}
