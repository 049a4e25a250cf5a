// Body of a formatter of an axis of the hedge figure: the label KIND at the coordinate `tick`. `scale`, a source whose `top` is the largest
// of the bars and `flow` that of the bars at strikes, is an argument of the one that needs it.
const short = (n) => (n < 1000 ? String(n) : n / 1000 + "k");
const labels = {
  words: () => (tick < 0 ? "◄ fuel" : tick < 1 ? "brake ►" : "flow"),
  contracts: () => (tick > 1 ? "\u00b1" + short(scale.data.flow[0]) : short(Math.abs(tick) * scale.data.top[0])),
};
return labels[KIND]();
