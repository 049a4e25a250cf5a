// Body of a formatter of the read-out: its line KIND of the sources `facts` and `quotes`, and of what Bokeh says of the pointer, `value` and
// `special_vars`.
const f = facts.data, q = quotes.data, { x, y } = special_vars;
const lines = {
  time: () => readout.time(f, x),
  price: () => readout.price(f, y),
  distance: () => readout.distance(f, y),
  size: () => readout.size(f, q, x, y, value, NO_BOOK),
};
return lines[KIND]();
