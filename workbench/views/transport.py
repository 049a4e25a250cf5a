"""The replay's transport: badge and clock, play and step, speed, the session's path so far as a scrubber, and the keyboard.

It acknowledges every frame once it is painted; the server sends the next one only then.
"""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.views.components import MAKE, ONE_AT_A_TIME
from workbench.views.replay_data import FRAME_S

DECK_CSS = """
:host { width: 100%; }
.transport { display: grid; grid-template-columns: auto auto 1fr; gap: 6px 14px; align-items: center; font: 14px var(--sm-font);
  width: 100%; box-sizing: border-box; color: var(--sm-text); background: var(--sm-panel);
  border: 1px solid var(--sm-edge); border-radius: 8px; padding: 6px 10px; }
.badge { display: flex; align-items: baseline; gap: 10px; white-space: nowrap; }
.badge b { font: 700 13px var(--sm-font); letter-spacing: .08em; color: var(--sm-page); background: var(--sm-level); border-radius: 4px;
  padding: 3px 8px; align-self: center; }
.badge time { font: 600 22px var(--sm-mono); }
.badge span { color: var(--sm-muted); font-size: 13px; }
.keys { display: flex; gap: 6px; align-items: center; }
button, select { background: var(--sm-page); color: var(--sm-text); border: 1px solid var(--sm-edge); border-radius: 6px; min-height: 34px;
  padding: 4px 10px; font: 600 14px var(--sm-font); cursor: pointer; white-space: nowrap; }
button:hover, select:hover { border-color: var(--sm-level); }
:is(button, select, input):focus-visible { outline: 2px solid var(--sm-level); outline-offset: 1px; }
.play { min-width: 92px; }
.play[aria-pressed=true] { border-color: var(--sm-level); box-shadow: inset 0 -3px 0 var(--sm-level); }
.track { position: relative; height: 44px; min-width: 160px; }
.track svg { position: absolute; inset: 0 8px; width: calc(100% - 16px); height: 100%; pointer-events: none; overflow: visible; }
.track polyline { fill: none; stroke: var(--sm-muted); stroke-width: 1.3; vector-effect: non-scaling-stroke; }
.track line.touch { stroke: var(--sm-level); stroke-width: 2; vector-effect: non-scaling-stroke; }
.track line.hour { stroke: var(--sm-edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
.track input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; background: transparent; -webkit-appearance: none;
  appearance: none; cursor: pointer; }
.track input::-webkit-slider-thumb { -webkit-appearance: none; width: 16px; height: 44px; border: 0; border-radius: 3px;
  background: linear-gradient(90deg, transparent 7px, var(--sm-level) 7px, var(--sm-level) 9px, transparent 9px); }
.track input::-moz-range-thumb { width: 16px; height: 44px; border: 0; border-radius: 3px;
  background: linear-gradient(90deg, transparent 7px, var(--sm-level) 7px, var(--sm-level) 9px, transparent 9px); }
.track .hours span { position: absolute; bottom: -3px; font: 11px var(--sm-mono); color: var(--sm-muted); transform: translateX(3px); }
.track .hours { position: absolute; inset: 0 8px; pointer-events: none; }
"""


class Deck(JSComponent):
    """Transport of a replay.

    `acted` is what the trader did: ``name`` (``play, step, seek, speed, touch, open, level, call``), ``value`` and a running number.
    """

    now = param.Dict(
        default={}, doc="Frame n, position in seconds, clock, whether it plays, index of the speed, last act answered, what `Live` paints"
    )
    track = param.Dict(default={}, doc="What was known of the session: its seconds, points and touches so far, hours")
    speeds = param.List(default=[], doc="Speeds in words")
    acted = param.Dict(default={}, doc="What the trader last did")
    painted = param.Integer(default=0, doc="The last frame that was painted")

    _stylesheets: ClassVar[list[str]] = [DECK_CSS]
    _esm = (
        MAKE
        + ONE_AT_A_TIME
        + f"""
    const LEAST_MS = {FRAME_S * 1000:g}, REFRESH_MS = 1000 / 60, HOLD_MS = 1.5 * REFRESH_MS;
    """
        + """
    export function render({ model, el }) {
      let n = 0;
      const tell = oneAtATime((name, value) => { model.acted = { name, value, n: ++n }; });
      const button = (text, title, act, cls = "") => {
        const b = make("button", { type: "button", textContent: text, title, className: cls });
        b.setAttribute("aria-label", title);
        b.addEventListener("click", act);
        return b;
      };
      const clock = make("time"), zone = make("span", { textContent: "New York" });
      const badge = make("div", { className: "badge" }, [make("b", { textContent: "REPLAY" }), clock, zone]);
      const play = button("Play", "Play or pause (space)", () => tell("play", !model.now.playing), "play");
      const speed = make("select", { title: "Speed" }, model.speeds.map((text, i) => make("option", { value: i, textContent: text })));
      speed.setAttribute("aria-label", "Speed");
      speed.addEventListener("change", () => tell("speed", Number(speed.value)));
      const buttons = make("div", { className: "keys" }, [
        button("« touch", "Previous touch of the level ([)", () => tell("touch", -1)),
        button("◀", "Step back (left arrow)", () => tell("step", -1)), play,
        button("▶", "Step (right arrow)", () => tell("step", 1)),
        button("touch »", "Next touch of the level (])", () => tell("touch", 1)),
        button("Open", "To the open (Home)", () => tell("open", 0)), speed,
        button("Drill", "Blind drill: call touches before their outcome is shown", () => tell("drill", 0)),
      ]);
      const NS = "http://www.w3.org/2000/svg";
      const svg = document.createElementNS(NS, "svg");
      svg.setAttribute("preserveAspectRatio", "none");
      const hours = make("div", { className: "hours" });
      const scrub = make("input", { type: "range", min: 1, step: 1 });
      scrub.setAttribute("aria-label", "Time of the session");
      scrub.addEventListener("input", () => tell("seek", Number(scrub.value)));
      const box = make("div", { className: "transport" }, [badge, buttons, make("div", { className: "track" }, [svg, hours, scrub])]);

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
        const y = t.y, low = Math.min(...y), high = Math.max(...y, low + 8);
        path.setAttribute("points", t.x.map((x, i) => `${x},${30 - 28 * (y[i] - low) / (high - low)}`).join(" "));
        svg.replaceChildren(...t.hours.map(([x]) => line("hour", x, 0, 44)), path, ...t.touches.map((x) => line("touch", x, 34, 44)));
        hours.replaceChildren(...t.hours.map(([x, text]) => {
          const s = make("span", { textContent: text });
          s.style.left = `${100 * x / t.seconds}%`;
          return s;
        }));
      };
      const put = (e, key, value) => { if (e[key] !== value) e[key] = value; };
      const held = [];
      let due = false, painted_at = 0;
      const show = () => {
        const s = model.now;
        if (!s.clock) return;
        put(clock, "textContent", s.clock);
        if (!(tell.busy() && document.activeElement === scrub)) put(scrub, "value", String(s.at));
        scrub.setAttribute("aria-valuetext", s.clock + " New York");
        put(play, "textContent", s.playing ? "❚❚ Pause" : "Play");
        if (play.getAttribute("aria-pressed") !== String(s.playing)) play.setAttribute("aria-pressed", String(s.playing));
        put(speed, "value", String(s.speed));
        if (s.answered >= n) tell.answered();
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
        if (s.playing && at < painted_at + every - REFRESH_MS / 2 && at - came < HOLD_MS) {
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
      model.on("track", drawTrack);
      model.on("now", show);

      const inField = (e) => e.composedPath().some((t) => t.tagName && (/^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) && t !== scrub));
      const keys = {
        " ": () => tell("play", !model.now.playing), "ArrowLeft": (e) => tell("step", e.shiftKey ? -10 : -1),
        "ArrowRight": (e) => tell("step", e.shiftKey ? 10 : 1), "[": () => tell("touch", -1), "]": () => tell("touch", 1),
        "Home": () => tell("open", 0), "b": () => tell("call", "break"), "r": () => tell("call", "reject"), "c": () => tell("call", "chop"),
      };
      const onKey = (e) => {
        if (e.ctrlKey || e.metaKey || e.altKey || !box.getClientRects().length || inField(e)) return;
        const act = keys[e.key] || (/^[1-5]$/.test(e.key) ? () => tell("level", Number(e.key)) : null);
        if (!act) return;
        if (e.key === " " && e.composedPath().some((t) => t.tagName === "BUTTON")) return;
        e.preventDefault();
        act(e);
      };
      window.addEventListener("keydown", onKey);
      model.on("remove", () => window.removeEventListener("keydown", onKey));
      return box;
    }
    """
    )
