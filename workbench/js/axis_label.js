// Body of a formatter of an axis: the label KIND at the coordinate `tick`. `size` and `digits` (of a price), and `scale`, a source whose
// `top` is the largest of the bars, are the arguments of the formatters that need them.
const labels = {
  price: () => (tick * size).toFixed(digits),
  distance: () => (tick > 0 ? "+" + tick : tick < 0 ? "\u2212" + -tick : "0"),
  ladder: () => (tick < 0 ? "◄ short" : tick < 1 ? "long ►" : tick < 2 ? "resting" : "change"),
  contracts: () => Math.round(Math.abs(tick) * scale.data.top[0]).toLocaleString("en-US"),
};
return labels[KIND]();
