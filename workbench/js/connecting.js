// Without a query the page opens where this browser left it: level, moment, layer, theme, rows. The address has it all, but for the secret.
{
  const LEFT = "spymaster:left";
  try {
    const left = localStorage.getItem(LEFT);
    if (!location.search && left) location.replace(location.pathname + left);
    window.addEventListener("pagehide", () => {
      // A window with one panel is no place where the page was left.
      const query = new URLSearchParams(location.search);
      if (location.search && !query.has("token") && !query.has("panel")) localStorage.setItem(LEFT, location.search);
    });
  } catch { /* a browser that keeps nothing opens the page as it is */ }
}
// The sentence "Connecting ..." goes when Bokeh has put something into the page; where that takes long, it gives a reason and a button.
{
  const box = document.getElementById("sm-connecting");
  const late = setTimeout(() => {
    const again = document.createElement("button");
    again.type = "button"; again.textContent = "Reload";
    again.addEventListener("click", () => location.reload());
    box.setAttribute("role", "alert");
    box.replaceChildren(
      `Nothing was drawn in 20 seconds. The page needs a websocket to ${location.host}: a proxy, a firewall or an extension of this ` +
      "browser may let none through, or the server is gone or busy.", again);
  }, 20_000);
  const drawn = new MutationObserver(() => {
    if (!document.querySelector("[data-root-id] > *")) return;
    clearTimeout(late);
    drawn.disconnect();
    box.remove();
  });
  drawn.observe(document.documentElement, { childList: true, subtree: true });
}
