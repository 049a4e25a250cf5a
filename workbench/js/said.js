export function render({ model }) {
  const box = document.createElement("div");
  const say = () => { box.innerHTML = model.html; };
  say();
  model.on("html", say);
  return box;
}
