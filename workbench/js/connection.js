// What an answer to a plain request says: the server is back, it does not know this browser any more, or it is still away. An answer
// that is not this server's (`own`) is another program's on its port, which shall not get the page.
export const serverState = (status, own) => (!own || status >= 500 ? "away" : status === 403 ? "stranger" : "back");

export function render({ view }) {
  const box = document.createElement("div"), text = document.createElement("span"), again = document.createElement("button");
  box.className = "lost"; box.hidden = true;
  box.setAttribute("role", "alert");
  again.type = "button"; again.textContent = "Reload";
  again.addEventListener("click", () => location.reload());
  // The words are put in when they are true: a screen reader says what comes into an alert.
  const say = (words) => {
    if (!box.hidden && text.textContent === words) return;
    text.textContent = words;
    box.replaceChildren(text, again);
    box.hidden = false;
  };
  const asks = async () => {
    try {
      const answer = await fetch("favicon.ico", { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(5_000) });
      return serverState(answer.status, answer.headers.has("X-Spymaster"));
    } catch {
      return "away";  // nobody listens there, or nobody answers
    }
  };
  // The page is opened again at the moment that its address has: Bokeh, where it connects again by itself, asks for the whole document and
  // cannot take it (it misses the buffers that came with the first one), and a server that was started again has another document.
  let lost = false;
  const watch = async () => {
    for (;;) {
      await new Promise((done) => setTimeout(done, 150));
      const state = await asks();
      if (state === "back") { location.reload(); return; }
      if (state === "stranger") say("The server was started again and does not know this browser: open the address that it printed.");
    }
  };
  bokeh.onConnectionLost(view, () => {
    say("The connection to the server is lost: what you see does not react any more. It goes on here as soon as the server is back.");
    if (!lost) { lost = true; watch(); }
  });
  const mark = (left) => {
    const stages = bokeh.viewsOfClass("sm-stage");
    for (const v of stages) bokeh.element(v).setAttribute("role", "main");
    if (!stages.length && left) setTimeout(() => mark(left - 1), 300);
  };
  setTimeout(() => mark(20), 100);
  const reachable = () => {
    for (const e of bokeh.elements(document)) {
      if (bokeh.isMoreTools(e) && !e.getAttribute("aria-label")) e.setAttribute("aria-label", "More tools");
      const tool = bokeh.toolOf(e);
      if (!tool || tool.getAttribute("role")) continue;
      tool.setAttribute("role", "button");
      tool.setAttribute("aria-label", tool.title || "Tool of the figure");
      tool.addEventListener("keydown", (k) => {
        if (k.key !== " ") return;
        k.preventDefault(); k.stopPropagation();  // Space plays and pauses elsewhere
        tool.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
      });
    }
  };
  // When the Tab key is first used on what there is then: figures come with their views, and a pointer needs none of this.
  window.addEventListener("keydown", (e) => { if (e.key === "Tab") reachable(); }, true);
  return box;
}
