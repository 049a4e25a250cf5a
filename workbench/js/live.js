// The colour `#rrggbb` or `#rrggbbaa` as a canvas keeps a pixel: alpha, blue, green, red from the highest byte down.
const pixelOf = (colour) => {
  const part = (i) => parseInt(colour.slice(i, i + 2), 16);
  return ((colour.length > 7 ? part(7) : 255) << 24 | part(5) << 16 | part(3) << 8 | part(1)) >>> 0;
};
// Width of the tag of the last price: nine figures of its type and their margins.
const TAG_PX = 84;
const pane = (name) => {
  const canvas = document.createElement("canvas");
  const ctx = canvas.getContext("2d");
  let view = null, left = 0, top = 0, placed = "";
  const find = () => {
    if (!view || bokeh.isGone(view)) view = bokeh.figure(name);
    const under = bokeh.canvas(view);
    if (!under) return null;
    if (under.nextSibling !== canvas) under.after(canvas);
    return view;
  };
  // As small as what is drawn: the browser composes all of a canvas again whenever a pixel of it changes.
  const place = (x, y, w, h) => {
    const r = bokeh.pixelRatio(view), wide = Math.ceil(w / 64) * 64;
    left = x; top = y;
    const size = [Math.round(wide * r), Math.round(h * r)];
    if (canvas.width !== size[0]) canvas.width = size[0];
    if (canvas.height !== size[1]) canvas.height = size[1];
    const style = `position:absolute;pointer-events:none;left:${x}px;top:${y}px;width:${wide}px;height:${h}px`;
    if (canvas.style.cssText !== style && placed !== style) { canvas.style.cssText = style; placed = style; }
  };
  const clear = () => { ctx.setTransform(1, 0, 0, 1, 0, 0); ctx.clearRect(0, 0, canvas.width, canvas.height); };
  // Bokeh's own place of a pixel, so that lines fall on the same ones.
  const begin = (x, y, w, h) => {
    place(x, y, w, h);
    clear();
    const r = bokeh.pixelRatio(view);
    ctx.setTransform(r, 0, 0, r, (0.5 - left) * r, (0.5 - top) * r);
  };
  const source = (name) => bokeh.source(view, name);
  return { ctx, canvas, find, clear, begin, source, get view() { return view; } };
};
const box = (ctx, x, y, w, h) => { ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip(); };
const stroke = (ctx, colour, width, alpha = 1, dash = []) => {
  ctx.strokeStyle = colour; ctx.lineWidth = width; ctx.globalAlpha = alpha; ctx.setLineDash(dash); ctx.stroke();
  ctx.globalAlpha = 1; ctx.setLineDash([]);
};
const grid = (p, colour) => {
  const { ctx, view } = p, { sx, sy, bbox } = bokeh.frame(view);
  for (const g of bokeh.grids(view)) {
    const [xs, ys] = bokeh.gridLines(view, g);
    ctx.beginPath();
    xs.forEach((x, i) => {
      const y = ys[i];
      ctx.moveTo(Math.round(sx(x[0])), Math.round(sy(y[0])));
      ctx.lineTo(Math.round(sx(x[x.length - 1])), Math.round(sy(y[y.length - 1])));
    });
    stroke(ctx, colour, 1);
  }
};

export function render({ model, el }) {
  el.style.display = "none";
  const chart = pane("level_chart"), ladder = pane("ladder"), strip = pane("conditions");
  const image = document.createElement("canvas"), ink = image.getContext("2d");
  let pixels = null, data = null, heat = null, colours = null, run = -1, base = -1, quotes = [], windows = [], dots = [], off = 0;

  const paint = (codes, first, count) => {
    // Row 0 of the source is the lowest price, that of a canvas the highest.
    const { rows, columns } = heat;
    for (let r = 0; r < rows; r++) for (let c = 0; c < count; c++)
      data[(rows - 1 - r) * columns + first + c] = colours[codes[r * count + c]];
    ink.putImageData(pixels, 0, 0, first, 0, count, rows);
  };
  const take = () => {
    const source = chart.source("heat"), { codes, rows, columns } = bokeh.image(source);
    const at = (k) => bokeh.column(source, k)[0];
    heat = { rows, columns, x: at("x"), y: at("y"), dw: at("dw"), dh: at("dh") };
    image.width = columns; image.height = rows;
    pixels = ink.createImageData(columns, rows);
    data = new Uint32Array(pixels.data.buffer);
    colours = new Uint32Array(bokeh.palette(chart.view, source).map(pixelOf));
    paint(codes, 0, columns);
  };
  const known = (f) => {
    // What the figures' own sources have of the strip; what comes after is sent.
    const s = chart.source("quotes"), [x, last] = ["x", "last"].map((k) => bokeh.column(s, k));
    let i = x.length;
    while (i > 0 && x[i - 1] >= f.since) i--;
    quotes = [];
    for (i = Math.max(i - 1, 0); i < x.length; i++) quotes.push([x[i], last[i]]);
    windows = []; dots = [];
  };

  const drawChart = (f, look) => {
    if (!chart.find() || !heat) return;
    const { ctx } = chart, { sx, sy, bbox } = bokeh.frame(chart.view);
    const left = Math.max(bbox.left, Math.floor(sx(f.since))), right = Math.min(bbox.right, sx(f.x));
    if (right <= left) { chart.clear(); return; }
    const width = right - left;
    // With the tag of the last price, which stands beside the picture on the price axis.
    chart.begin(left, bbox.top, bbox.right - left + TAG_PX, bbox.height);
    ctx.save();
    box(ctx, left, bbox.top, width, bbox.height);
    ctx.fillStyle = look.floor; ctx.fillRect(left, bbox.top, width, bbox.height);
    const { rows, columns } = heat, each = heat.dw / columns;
    const a = Math.max(Math.floor((f.since - heat.x) / each), 0), b = Math.min(Math.ceil((f.x - heat.x) / each), columns);
    const x0 = sx(heat.x + a * each), x1 = sx(heat.x + b * each);
    const y0 = sy(heat.y + heat.dh), y1 = sy(heat.y);
    ctx.imageSmoothingEnabled = false;
    grid(chart, look.grid);
    if (b > a) ctx.drawImage(image, a, 0, b - a, rows, x0, y0, x1 - x0, y1 - y0);
    ctx.beginPath();
    for (const y of bokeh.column(chart.source("zones"), "y")) {
      ctx.moveTo(bbox.left, Math.round(sy(y))); ctx.lineTo(bbox.right, Math.round(sy(y)));
    }
    stroke(ctx, look.muted, 1, 1, [1, 5]);
    const s = chart.source("levels"), col = (k) => bokeh.column(s, k), n = col("y").length;
    for (const casing of [true, false]) for (let i = 0; i < n; i++) {
      if (col("x1")[i] < f.since) continue;
      const y = sy(col("y")[i]);
      if (y < bbox.top - 5 || y > bbox.bottom + 5) continue;
      ctx.beginPath(); ctx.moveTo(sx(col("x0")[i]), y); ctx.lineTo(sx(col("x1")[i]), y);
      if (casing) stroke(ctx, look.casing, look.line); else stroke(ctx, look[col("colour")[i]], col("chosen")[i], 1, [6, 3]);
    }
    const path = new Path2D(), [under, faint, thick] = look.path;
    let at = NaN;
    for (const q of quotes) {
      const x = sx(q[0]), y = q[1] === null ? NaN : sy(q[1]);
      if (Number.isFinite(at)) path.lineTo(x, at);
      if (Number.isFinite(y)) { if (Number.isFinite(at)) path.lineTo(x, y); else path.moveTo(x, y); }
      at = y;
    }
    if (Number.isFinite(at)) path.lineTo(right, at);
    ctx.lineWidth = under; ctx.globalAlpha = faint; ctx.strokeStyle = look.casing; ctx.stroke(path);
    ctx.lineWidth = thick; ctx.globalAlpha = 1; ctx.strokeStyle = look.text; ctx.stroke(path);
    for (const [x, y, size, colour] of dots) {
      ctx.beginPath(); ctx.arc(sx(x), sy(y), size / 2, 0, 2 * Math.PI);
      ctx.globalAlpha = look.dots[0]; ctx.fillStyle = look[colour]; ctx.fill(); ctx.globalAlpha = 1;
      stroke(ctx, look.casing, look.dots[1]);
    }
    ctx.restore();
    present(ctx, right, bbox, look);
    if (f.last) tag(ctx, f.last[1], bbox.right, sy(f.last[0]), look);
  };
  const tag = (ctx, text, x, y, look) => {
    ctx.font = `bold 13px ${look.mono}`; ctx.textBaseline = "middle"; ctx.textAlign = "left";
    ctx.fillStyle = look.text; ctx.fillRect(x, y - 9, ctx.measureText(text).width + 6, 18);
    ctx.fillStyle = look.page; ctx.fillText(text, x + 3, y + 1);
  };
  const present = (ctx, x, bbox, look) => {
    ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.bottom); stroke(ctx, look.text, 1.5, 1, [3, 3]);
  };

  const drawLadder = (f, look) => {
    if (!ladder.find()) return;
    const { ctx } = ladder, { sx, sy, bbox } = bokeh.frame(ladder.view), d = f.ladder;
    ladder.begin(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.save();
    box(ctx, bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.fillStyle = look.floor; ctx.fillRect(bbox.left, bbox.top, bbox.width, bbox.height);
    const band = bokeh.band(ladder.view);
    if (band) {
      const top = sy(band.top), high = sy(band.bottom) - top;
      ctx.globalAlpha = band.alpha; ctx.fillStyle = look.level; ctx.fillRect(bbox.left, top, bbox.width, high);
      ctx.globalAlpha = 1;
      ctx.beginPath(); ctx.rect(bbox.left - 3, top, bbox.width + 6, high); stroke(ctx, look.level, band.width);
    }
    const x = (v) => sx(v), zero = x(0), foot = x(look.rest[0]);
    ctx.font = `12px ${look.mono}`; ctx.textBaseline = "middle";
    d.y.forEach((y, i) => {
      const top = sy(y + d.h[i] / 2), high = sy(y - d.h[i] / 2) - top, middle = top + high / 2;
      const bar = (from, to, colour) => { ctx.fillStyle = colour; ctx.fillRect(from, top, to - from, high); };
      ctx.globalAlpha = look.rest[1]; bar(foot, x(d.rest[i]), look[d.rest_colour[i]]); ctx.globalAlpha = 1;
      bar(x(d.short[i]), zero, look.short); bar(zero, x(d.long[i]), look.long);
      const say = (text, at, align, colour) => {
        if (!text) return;
        ctx.textAlign = align; ctx.fillStyle = colour; ctx.fillText(text, x(at), middle);
      };
      say(d.rest_text[i], d.rest_x[i], "left", look[d.fill_colour[i]]);
      say(d.change_text[i], look.change, "right", look[d.change_colour[i]]);
    });
    ctx.restore();
  };

  const drawStrip = (f, look) => {
    if (!strip.find()) return;
    const { ctx } = strip, { sx, sy, bbox } = bokeh.frame(strip.view);
    const left = Math.max(bbox.left, Math.floor(sx(f.painted))), right = Math.min(bbox.right, sx(f.x));
    if (right <= left) { strip.clear(); return; }
    strip.begin(left, bbox.top, right - left + 2, bbox.height);
    ctx.save();
    box(ctx, left, bbox.top, right - left + 1, bbox.height);
    ctx.fillStyle = look.floor; ctx.fillRect(left, bbox.top, right - left + 1, bbox.height);
    grid(strip, look.grid);
    for (const [at, wide, cells, tops] of windows) {
      const x = sx(at), w = sx(at + wide) - x;
      cells.forEach((codes, d) => {
        codes.forEach((code, r) => {
          ctx.fillStyle = look.cells[code];
          const y = sy(look.feet[d] + r + 1);
          ctx.fillRect(x, y, w, sy(look.feet[d] + r) - y);
        });
        const foot = sy(look.floors[d]), y = sy(tops[d]);
        ctx.globalAlpha = 0.85; ctx.fillStyle = look.bands[d]; ctx.fillRect(x, y, w, foot - y); ctx.globalAlpha = 1;
      });
    }
    ctx.restore();
    present(ctx, right, bbox, look);
  };

  let watched = null, f = null;
  const draw = () => {
    if (!f || !chart.find()) return;
    drawChart(f, model.look); drawLadder(f, model.look); drawStrip(f, model.look);
  };
  let received = "";
  const show = (e) => {
    if (e.detail === received && !received) return;
    received = e.detail;
    f = received ? JSON.parse(received) : null;
    if (!f) {
      // The figures paint themselves first: two frames, as their texts are measured in between.
      const mine = ++off;
      const wipe = (left) => requestAnimationFrame(() => {
        if (mine !== off) return;
        if (left) wipe(left - 1); else for (const p of [chart, ladder, strip]) p.clear();
      });
      wipe(3);
      run = base = -1;
      return;
    }
    off++;
    if (!chart.find()) return;
    if (watched !== chart.view) { watched = chart.view; bokeh.onRepaint(watched, draw); }
    const isNewBase = f.base !== base;
    if (f.run !== run) { take(); run = f.run; }
    if (isNewBase) { known(f); base = f.base; }
    if (f.codes.length) paint(f.codes, f.first, f.codes.length / heat.rows);
    if (!isNewBase) {
      f.quotes.x.forEach((x, i) => quotes.push([x, f.quotes.last[i]]));
      f.dots.x.forEach((x, i) => dots.push([x, f.dots.y[i], f.dots.size[i], f.dots.colour[i]]));
    }
    if (!isNewBase) windows.push(...f.windows);
    // Where the figures are painted too, the scales change with them: it is drawn once they are.
    if (!isNewBase) draw();
  };
  window.addEventListener("sm-live", show);
  model.on("remove", () => window.removeEventListener("sm-live", show));
  model.on("look", draw);
  return document.createElement("span");
}
