// Body of a callback: the two sides of the price axis, `prices` and `distances` from the level, stay in step while the trader pans and
// zooms, without asking the server.
const level = Number(facts.data.k[0] ?? 0);
bokeh.set(distances, { start: prices.start - level, end: prices.end - level });
