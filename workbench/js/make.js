const make = (tag, props = {}, kids = []) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...kids);
  return e;
};
