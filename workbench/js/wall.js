const TOP = 3, RIGHT = 4, NONE = 65535, NO_PRICE = -32768, UNIT = 1000;
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const signed = (v) => (v > 0 ? "+" : v < 0 ? "\u2212" : "") + Math.abs(v);
// Colour of a size, of 255, by its root up to `top`; and of a signed share, that is sent as thousandths above `UNIT`.
const sizeCode = (v, top) => Math.round(Math.sqrt(Math.min(v, top) / top) * 254) + 1;
const signedCode = (v) => Math.round((v - UNIT) / UNIT * 127 + 128);
// How many columns of a card are over at `at`, seconds from zero; the setup itself is shown whole.
const columnsUntil = (card, at) => (card.query ? card.n : Math.max(0, Math.min(card.n, Math.floor((at - card.start) / card.step + 1e-9))));

export function render({ model, el }) {
  let at = 0, playing = false, before = 0, raf = 0, n = 0, timer = 0;
  const play = make("button", { type: "button", className: "play", textContent: "Play", title: "Play or pause (space)" });
  const speed = make("select", { title: "Speed" }, [1, 5, 10, 30].map((v) => make("option", { value: v, textContent: v + "x" })));
  speed.setAttribute("aria-label", "Speed");
  speed.value = "10";
  const clock = make("output");
  const scrub = make("input", { type: "range", step: 1 });
  scrub.setAttribute("aria-label", "Seconds from zero, in all cards");
  const axis = make("span"), read = make("b");
  const cards = make("div", { className: "cards" });
  const box = make("div", { className: "box" }, [
    make("div", { className: "bar" }, [play, speed, clock, scrub]), make("div", { className: "read" }, [axis, read]), cards]);
  let shown = [], px = 11, LEFT = 30, BOTTOM = 17;

  const image = (card) => {
    const { top, signed: sign } = model.shown, palette = model.ink.palette;
    const sizes = new Uint16Array(bytes(card.sizes)), out = new ImageData(card.n, card.rows);
    const rgb = palette.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
    for (let r = 0; r < card.rows; r++) for (let c = 0; c < card.n; c++) {
      const v = sizes[r * card.n + c];
      if (v === NONE) continue;
      const k = 4 * ((card.rows - 1 - r) * card.n + c), [R, G, B] = rgb[sign ? signedCode(v) : sizeCode(v, top)];
      out.data[k] = R; out.data[k + 1] = G; out.data[k + 2] = B; out.data[k + 3] = 255;
    }
    const canvas = make("canvas", { width: Math.max(card.n, 1), height: Math.max(card.rows, 1) });
    if (card.n) canvas.getContext("2d").putImageData(out, 0, 0);
    return { canvas, sizes, path: new Int16Array(bytes(card.path)) };
  };

  const place = (part) => {
    const w = part.canvas.clientWidth, h = part.canvas.clientHeight, f = model.shown;
    const x = (s) => LEFT + (s + f.before) / (f.before + f.after) * (w - LEFT - RIGHT);
    const y = (t) => TOP + (f.reach + 0.5 - t) / (2 * f.reach + 1) * (h - TOP - BOTTOM);
    const seconds = (px) => (px - LEFT) / (w - LEFT - RIGHT) * (f.before + f.after) - f.before;
    const ticks = (py) => f.reach + 0.5 - (py - TOP) / (h - TOP - BOTTOM) * (2 * f.reach + 1);
    return { w, h, x, y, seconds, ticks };
  };

  const paint = (part) => {
    const { card, canvas, made } = part;
    if (!made || !canvas.clientWidth) return;
    px = Math.min(Math.max(canvas.clientWidth / 27, 11), 15); LEFT = 2.7 * px; BOTTOM = 1.55 * px;
    const ink = model.ink, f = model.shown, ratio = window.devicePixelRatio || 1, { w, h, x, y } = place(part);
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, w, h);
    g.save();
    g.beginPath(); g.rect(LEFT, TOP, w - LEFT - RIGHT, h - TOP - BOTTOM); g.clip();
    // What lies after the scrubber is not drawn: the wall is replayed, and its end is no news before its time.
    const whole = columnsUntil(card, at);
    if (whole > 0) {
      g.imageSmoothingEnabled = false;
      const x0 = x(card.start), x1 = x(card.start + whole * card.step), y0 = y(card.low + card.rows - 0.5), y1 = y(card.low - 0.5);
      g.drawImage(made.canvas, 0, 0, whole, card.rows, x0, y0, x1 - x0, y1 - y0);
    }
    const line = (x0, y0, x1, y1, colour, width, dash) => {
      g.strokeStyle = colour; g.lineWidth = width; g.setLineDash(dash);
      g.beginPath(); g.moveTo(x0, y0); g.lineTo(x1, y1); g.stroke();
    };
    if (f.barrier) for (const b of [-f.barrier, f.barrier]) line(LEFT, y(b), w, y(b), ink.muted, 1, [2, 4]);
    line(x(0), TOP, x(0), h - BOTTOM, ink.muted, 1, [2, 3]);
    line(LEFT, y(0), w, y(0), ink.level, 2, [6, 3]);
    const step = () => {
      g.beginPath();
      let pen = false;
      for (let i = 0; i < whole; i++) {
        const v = made.path[i];
        if (v === NO_PRICE) { pen = false; continue; }
        const a = x(card.start + i * card.step), b = x(card.start + (i + 1) * card.step), py = y(v);
        if (pen) g.lineTo(a, py); else g.moveTo(a, py);
        g.lineTo(b, py);
        pen = true;
      }
      g.stroke();
    };
    g.setLineDash([]); g.lineJoin = "round";
    g.strokeStyle = ink.casing; g.lineWidth = 4; step();
    g.strokeStyle = ink.text; g.lineWidth = 1.8; step();
    if (!card.query && at < f.after) line(x(at), TOP, x(at), h - BOTTOM, ink.text, 1.2, [3, 3]);
    for (const [s, word] of card.marks) if (s <= at || card.query) {
      const mx = x(s), py = h - BOTTOM;
      g.fillStyle = ink.level;
      g.beginPath(); g.moveTo(mx, py - 8); g.lineTo(mx - 5, py); g.lineTo(mx + 5, py); g.fill();
      g.font = `${px}px ${ink.font}`; g.lineWidth = 3; g.strokeStyle = ink.casing;
      const right = mx > w - 6 * px;
      g.textAlign = right ? "right" : "left";
      g.strokeText(word, mx + (right ? -7 : 7), py - 3); g.fillText(word, mx + (right ? -7 : 7), py - 3);
    }
    g.restore();
    g.strokeStyle = ink.edge; g.lineWidth = 1; g.setLineDash([]);
    g.strokeRect(LEFT - 0.5, TOP - 0.5, w - LEFT - RIGHT + 1, h - TOP - BOTTOM + 1);
    g.fillStyle = ink.muted; g.font = `${px}px ${ink.mono}`; g.textAlign = "right"; g.textBaseline = "middle";
    const by = f.reach > 20 ? 16 : 8;
    for (let t = -Math.floor(f.reach / by) * by; t <= f.reach; t += by) g.fillText(signed(t), LEFT - 4, Math.max(y(t), px / 2 + 1));
    g.textAlign = "center"; g.textBaseline = "alphabetic";
    const every = [60, 120, 240].find((v) => (f.before + f.after) / v <= 5) || 300;
    for (let s = -Math.floor(f.before / every) * every; s < f.after; s += every) g.fillText(signed(s) + (s ? "" : " s"), x(s), h - 4);
  };

  const wordsOf = (part) => {
    const late = !part.card.query && at < part.card.known;
    part.end.textContent = late ? "" : part.card.end;
  };
  const all = () => { raf = 0; for (const p of shown) paint(p); };
  const soon = () => { if (!raf) raf = requestAnimationFrame(all); };
  const go = (s) => {
    const f = model.shown;
    at = Math.min(Math.max(s, -f.before), f.after);
    scrub.value = String(Math.round(at));
    clock.textContent = `${f.zero} ${signed(Math.round(at))} s`;
    scrub.setAttribute("aria-valuetext", clock.textContent);
    box.dataset.at = String(Math.round(at));
    for (const p of shown) wordsOf(p);
    soon();
  };
  const setPlay = (on) => {
    playing = on;
    play.textContent = on ? "\u275a\u275a Pause" : "Play";
    play.setAttribute("aria-pressed", String(on));
    if (!on) return;
    if (at >= model.shown.after) go(-model.shown.before);
    before = performance.now();
    const tick = (now) => {
      if (!playing) return;
      if (!box.getClientRects().length) { setPlay(false); return; }
      const next = at + Number(speed.value) * Math.min((now - before) / 1000, 0.5);
      before = now;
      go(next);
      if (at >= model.shown.after) setPlay(false); else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  };
  play.addEventListener("click", () => setPlay(!playing));
  scrub.addEventListener("input", () => { setPlay(false); go(Number(scrub.value)); });

  const point = (id) => { clearTimeout(timer); timer = setTimeout(() => { if (model.pointed !== id) model.pointed = id; }, 180); };
  const hover = (part, e) => {
    const { card, made } = part, r = part.canvas.getBoundingClientRect(), p = place(part);
    const s = p.seconds(e.clientX - r.left), t = Math.round(p.ticks(e.clientY - r.top));
    const c = Math.floor((s - card.start) / card.step), row = t - card.low;
    if (!made || c < 0 || c >= card.n || row < 0 || row >= card.rows || (!card.query && s > at)) { read.textContent = ""; return; }
    const v = made.sizes[row * card.n + c], price = (card.price + card.up * t * card.size).toFixed(card.digits);
    const size = v === NONE ? "book not valid" : model.shown.signed ? ((v - UNIT) / UNIT).toFixed(2) : v + " contracts";
    read.textContent = `${signed(Math.round(s))} s  ${signed(t)} ticks  ${price}  ${size}`;
  };
  // So many columns that the cards are about twice as wide as high, the last row is full, and all fit where they can.
  const arrange = () => {
    const n = shown.length, w = cards.offsetWidth, h = cards.clientHeight;
    if (!n || !w) return;
    let best = 1, least = Infinity;
    for (let c = 1; c <= Math.min(n, Math.max(1, Math.floor((w + 8) / 280))); c++) {
      const rows = Math.ceil(n / c), high = Math.max((h - 8 * (rows - 1)) / rows, 152), wide = (w - 8 * (c - 1)) / c;
      const cost = Math.abs(Math.log(wide / high / 2)) + 3 * (1 - n / (c * rows)) + (rows * 160 > h + 8 ? 1 : 0);
      if (cost < least) { least = cost; best = c; }
    }
    cards.style.gridTemplateColumns = `repeat(${best}, minmax(0, 1fr))`;
  };
  const build = () => {
    setPlay(false);
    shown = (model.shown.cards || []).map((card) => {
      const end = make("span", { className: "end", textContent: card.end });
      end.style.color = card.ink ? `var(--sm-${card.ink})` : "inherit";
      const head = make("span", { className: "head" }, [
        make("span", { className: "what", textContent: card.what }), make("span", { className: "when", textContent: card.when }),
        make("span", { className: "like", textContent: card.like }), end]);
      const pic = make("span", { className: "pic" });
      const b = make("button", { type: "button", className: card.query ? "card query" : "card", title: card.tip }, [head, pic]);
      b.dataset.id = card.id;
      b.setAttribute("aria-label", card.tip);
      const part = { card, canvas: make("canvas"), made: null, end };
      if (card.said) pic.append(make("p", { textContent: card.said }));
      else { pic.append(part.canvas); part.made = image(card); part.canvas.addEventListener("mousemove", (e) => hover(part, e)); }
      b.addEventListener("mouseleave", () => { read.textContent = ""; point(""); });
      b.addEventListener("mouseenter", () => point(card.query ? "" : card.id));
      b.addEventListener("focus", () => point(card.query ? "" : card.id));
      b.addEventListener("blur", () => point(""));
      b.addEventListener("click", () => { model.opened = { id: card.id, n: ++n }; });
      return part;
    });
    cards.replaceChildren(...shown.map((p) => (p.canvas.parentNode || p.end.parentNode).closest("button")));
    arrange();
    const f = model.shown;
    if (f.after === undefined) return;
    scrub.min = -f.before; scrub.max = f.after;
    axis.textContent = f.words;
    go(f.after);
  };
  const recolour = () => { for (const p of shown) if (p.made) p.made = image(p.card); soon(); };
  const watch = new ResizeObserver(() => { arrange(); soon(); });
  watch.observe(cards);
  build();
  model.on("shown", build);
  model.on("ink", recolour);
  const inField = (e) => e.composedPath().some((t) => t.tagName && /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) && t !== scrub);
  const onKey = (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || !box.getClientRects().length || inField(e)) return;
    const inButton = e.composedPath().some((t) => t.tagName === "BUTTON");
    if (e.key === " " && !inButton) setPlay(!playing);
    else if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      setPlay(false);
      go(at + (e.key === "ArrowLeft" ? -1 : 1) * (e.shiftKey ? 10 : 1));
    } else return;
    e.preventDefault();
  };
  window.addEventListener("keydown", onKey);
  model.on("remove", () => { window.removeEventListener("keydown", onKey); watch.disconnect(); });
  return box;
}
