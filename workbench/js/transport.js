const REFRESH_MS = 1000 / 60, HOLD_MS = 1.5 * REFRESH_MS;
// Points of the scrubber's path, 2 to 30 from above; a move of less than eight ticks does not fill it.
const pathPoints = (xs, ys) => {
  const low = Math.min(...ys), high = Math.max(...ys, low + 8);
  return xs.map((x, i) => `${x},${30 - 28 * (ys[i] - low) / (high - low)}`).join(" ");
};

export function render({ model, el }) {
  let n = 0;
  // Steps add up, the first call of a drill counts, of all else the newest does.
  const STEPS = ["step", "touch", "layer", "tape"];
  const together = (name, a, b) => (STEPS.includes(name) ? a + b : name === "call" ? a : b);
  const tell = inOrder((name, value) => { model.acted = { name, value, n: ++n }; }, together);
  const button = (text, title, act, cls = "") => {
    const b = make("button", { type: "button", textContent: text, title, className: cls });
    b.setAttribute("aria-label", title);
    b.addEventListener("click", act);
    return b;
  };
  const clock = make("time"), zone = make("span", { textContent: "New York" });
  const badge = make("div", { className: "badge" }, [clock, zone]);
  // Pressed twice before the server answers is as it was.
  const turn = (name, now) => () => tell(name, !(tell.asked(name) ?? model.now[now]));
  const turnPlay = turn("play", "playing"), turnReveal = turn("reveal", "revealed");
  const play = button("Play", "Play or pause (space)", turnPlay, "play");
  const reveal = button("Show after", "Show what came after the moment, or hide it (h)", turnReveal, "reveal");
  const speed = make("select", { title: "Speed" }, model.speeds.map((text, i) => make("option", { value: i, textContent: text })));
  speed.setAttribute("aria-label", "Speed");
  speed.addEventListener("change", () => tell("speed", Number(speed.value)));
  const buttons = make("div", { className: "keys" }, [
    button("« touch", "Previous touch of the level ([)", () => tell("touch", -1)),
    button("◀", "Step back (left arrow)", () => tell("step", -model.window_s)), play,
    button("▶", "Step (right arrow)", () => tell("step", model.window_s)),
    button("touch »", "Next touch of the level (])", () => tell("touch", 1)),
    button("Open", "To the open (Home)", () => tell("open", 0)), speed, reveal,
    button("Drill", "Blind drill: call touches before their outcome is shown", () => tell("drill", 0)),
  ]);
  // A panel in a window of its own follows this page's clock by the clock's name; a reload of the page finds its windows again.
  const KEPT = "spymaster:clock";
  const kept = (name) => {
    try { if (name) sessionStorage.setItem(KEPT, name); return sessionStorage.getItem(KEPT); } catch { return name; }
  };
  const open = (panel) => {
    const name = model.clock || kept() || Math.random().toString(36).slice(2, 12), query = new URLSearchParams(location.search);
    query.set("panel", panel); query.set("clock", name);
    const size = panel === "tape" ? "width=320,height=720" : "width=960,height=640";
    if (!window.open(`${location.pathname}?${query}`, `spymaster-${name}-${panel}`, `popup,${size}`)) {
      say("The browser lets this page open no window: allow it for this address");
    } else if (!model.window) { kept(name); tell("share", name); }
  };
  const windows = make("select", { title: "A panel in a window of its own (w)", className: "windows" },
    [["", "Window"], ...model.panels].map(([value, textContent]) => make("option", { value, textContent })));
  windows.setAttribute("aria-label", "A panel in a window of its own");
  windows.addEventListener("change", () => { const panel = windows.value; windows.value = ""; if (panel) open(panel); });
  buttons.append(windows);
  if (model.window) document.title = `${model.window} · spymaster`;
  let joined = Boolean(model.window);
  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("preserveAspectRatio", "none");
  const hours = make("div", { className: "hours" });
  const scrub = make("input", { type: "range", min: 1, step: 1 });
  scrub.setAttribute("aria-label", "Time of the session");
  scrub.addEventListener("input", () => tell("seek", Number(scrub.value)));
  const copied = make("div", { className: "copied", hidden: true });
  copied.setAttribute("role", "status");
  let hide = 0;
  const say = (words) => {
    copied.textContent = words;
    copied.hidden = false;
    clearTimeout(hide);
    hide = setTimeout(() => { copied.hidden = true; }, 2500);
  };
  const showCopied = async () => {
    const { what, text, said } = model.copied;
    if (text === undefined) return;
    const done = await toClipboard(what === "link" ? location.origin + location.pathname + text : text);
    say(done ? said : "The browser lets nothing be copied here");
  };
  model.on("copied", showCopied);
  const box = make("div", { className: model.window ? "transport window" : "transport" }, [badge, buttons, make("div", { className: "track" }, [svg, hours, scrub]), copied]);

  const drawTrack = () => {
    const t = model.track;
    if (!t.seconds) return;
    scrub.max = t.seconds;
    svg.setAttribute("viewBox", `0 0 ${t.seconds} 44`);
    const line = (cls, x, y1, y2) => {
      const e = document.createElementNS(NS, "line");
      for (const [k, v] of Object.entries({ class: cls, x1: x, x2: x, y1, y2 })) e.setAttribute(k, v);
      return e;
    };
    const path = document.createElementNS(NS, "polyline");
    path.setAttribute("points", pathPoints(t.x, t.y));
    svg.replaceChildren(...t.hours.map(([x]) => line("hour", x, 0, 44)), path, ...t.touches.map((x) => line("touch", x, 34, 44)));
    const room = box.querySelector(".track").clientWidth - 16, each = room / Math.max(t.hours.length, 1);
    hours.replaceChildren(...t.hours.map(([x, text], i) => {
      // As many as have room, the last of them within the bar.
      const fits = i % Math.max(Math.ceil(46 / Math.max(each, 1)), 1) === 0 && room * (1 - x / t.seconds) > 44;
      const s = make("span", { textContent: fits ? text : "" });
      s.style.left = `${100 * x / t.seconds}%`;
      return s;
    }));
  };
  const put = (e, key, value) => { if (e[key] !== value) e[key] = value; };
  const held = [];
  let due = false, painted_at = 0;
  const show = () => {
    const s = model.now;
    // Also where no session is open: whoever waits for the answer takes no other key.
    if (s.answered >= n) tell.answered();
    if (!s.clock) return;
    if (!joined) { joined = true; const name = kept(); if (name) tell("share", name); }
    put(clock, "textContent", s.clock);
    if (!(tell.busy() && document.activeElement === scrub)) put(scrub, "value", String(s.at));
    scrub.setAttribute("aria-valuetext", s.clock + " New York");
    put(play, "textContent", s.playing ? "❚❚ Pause" : "Play");
    if (play.getAttribute("aria-pressed") !== String(s.playing)) play.setAttribute("aria-pressed", String(s.playing));
    put(speed, "value", String(s.speed));
    put(reveal, "textContent", s.revealed ? "Hide after" : "Show after");
    if (reveal.getAttribute("aria-pressed") !== String(s.revealed)) reveal.setAttribute("aria-pressed", String(s.revealed));
    // One property for all of a frame: each costs the server as much as the frame's numbers.
    held.push(s.live || "");
    if (!s.playing) paint();
    if (!due) { due = true; const came = performance.now(); requestAnimationFrame((at) => pace(at, came)); }
  };
  const paint = () => { for (const live of held.splice(0)) window.dispatchEvent(new CustomEvent("sm-live", { detail: live })); };
  // Frames come every 33 ms at 30x, give or take some ms, and a screen shows 60 a second: painted as they come, their spacing would be
  // 17, 33 or 50 ms by chance. One that is early waits for its turn, which keeps a refresh in hand for one that is late.
  const pace = (at, came) => {
    const s = model.now, every = Math.max(1000 / parseFloat(model.speeds[s.speed]), LEAST_MS);
    if (s.playing && !s.following && at < painted_at + every - REFRESH_MS / 2 && at - came < HOLD_MS) {
      requestAnimationFrame((next) => pace(next, came));
      return;
    }
    due = false;
    painted_at = at;
    paint();
    // After the frame in which the pictures were painted.
    setTimeout(() => { if (model.painted < s.n) model.painted = s.n; }, 0);
  };
  drawTrack(); show();
  const wide = new ResizeObserver(drawTrack);
  wide.observe(box);
  model.on("track", drawTrack);
  model.on("now", show);

  const inField = (e) => e.composedPath().some((t) => t.tagName && t !== scrub && (/^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) ||
    t.isContentEditable || ["listbox", "slider", "combobox"].includes(t.getAttribute?.("role"))));
  const step = (way) => (e) => tell("step", way * model.window_s * (e.shiftKey ? 12 : 1));
  const ONCE = [" ", "g", "h", "b", "r", "c", "t", "l", "s", "d", "T"];
  const keys = {
    " ": turnPlay, "ArrowLeft": step(-1), "ArrowRight": step(1), ",": () => tell("step", -1),
    ".": () => tell("step", 1), "ArrowUp": () => tell("layer", -1), "ArrowDown": () => tell("layer", 1), "[": () => tell("touch", -1),
    "]": () => tell("touch", 1), "Home": () => tell("open", 0), "End": () => tell("end", 0), "g": () => tell("end", 0),
    "h": turnReveal, "b": () => tell("call", "break"), "r": () => tell("call", "reject"),
    "c": () => tell("call", "chop"), "t": () => tell("tape", 1), "l": () => tell("copy", "link"), "s": () => tell("copy", "sentence"),
    "d": () => tell("copy", "ladder"), "T": () => tell("copy", "trades"),
    "w": () => { windows.focus(); try { windows.showPicker(); } catch { /* the arrows choose, too */ } },
  };
  const onKey = (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || !model.active || inField(e)) return;
    const act = keys[e.key] || (/^[1-5]$/.test(e.key) ? () => tell("level", Number(e.key)) : null);
    if (!act) return;
    if (e.key === " " && e.composedPath().some((t) => t.tagName === "BUTTON")) return;
    e.preventDefault();
    // A key that is held says once what it turns or answers.
    if (!e.repeat || !ONCE.includes(e.key)) act(e);
  };
  window.addEventListener("keydown", onKey);
  const letGo = priceAxis("candles", (fit) => tell("fit", fit));
  model.on("remove", () => { window.removeEventListener("keydown", onKey); letGo(); wide.disconnect(); });
  // Figures stand a moment after the page.
  const name = (left) => {
    const views = bokeh.viewsNamed(model.figures);
    for (const v of views) {
      bokeh.element(v).setAttribute("role", "figure");
      bokeh.element(v).setAttribute("aria-label", model.figures[bokeh.name(v)]);
    }
    if (views.length < Object.keys(model.figures).length && left) setTimeout(() => name(left - 1), 500);
  };
  setTimeout(() => name(10), 300);
  return box;
}
