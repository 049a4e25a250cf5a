// What the read-out of the heatmap says at the pointer: `f` is the one row of the source `facts` (columns of one value each), `q` the best
// prices by window, `x` and `y` the pointer's place in axis coordinates, `value` the cell's exact size.
const readout = {
  row: (f, y) => Math.floor((y + 0.5) / f.step[0]) * f.step[0],
  time: (f, x) => {
    const t = f.x0[0] + Math.floor((x - f.x0[0]) / f.w[0]) * f.w[0];
    return new Date(t).toISOString().slice(11, 19);
  },
  price: (f, y) => {
    const r = readout.row(f, y), a = (r * f.size[0]).toFixed(f.digits[0]);
    return f.step[0] > 1 ? a + ' – ' + ((r + f.step[0] - 1) * f.size[0]).toFixed(f.digits[0]) : a;
  },
  distance: (f, y) => {
    const d = readout.row(f, y) - f.k[0];
    return (d > 0 ? '+' + d : d < 0 ? '\u2212' + (-d) : '0') + ' ticks';
  },
  // Whether what rests at the pointer are bids or asks: the best prices of that window part them.
  side: (f, q, x, y) => {
    if (!f.sided[0]) return '';
    let lo = 0, hi = q.x.length;
    while (lo < hi) { const m = (lo + hi) >> 1; if (q.x[m] <= x) lo = m + 1; else hi = m; }
    if (lo === 0) return '';
    return y <= q.bid[lo - 1] + 0.5 ? ' bid' : y >= q.ask[lo - 1] - 0.5 ? ' ask' : '';
  },
  size: (f, q, x, y, value, noBook) => {
    if (!isFinite(value) || value === noBook) return 'book not valid';
    if (f.signed[0]) return f.title[0] + ' ' + (value > 0 ? '+' : value < 0 ? '\u2212' : '') + Math.abs(value).toFixed(3);
    return f.title[0] + readout.side(f, q, x, y) + ' ' + Math.round(value).toLocaleString('en-US') + ' contracts';
  },
};
