"""What the page says of itself: that its server is gone, and where its main part is."""

from __future__ import annotations

from typing import ClassVar

from panel.custom import JSComponent

LOST_CSS = """
:host { position: fixed; top: 54px; left: 50%; transform: translateX(-50%); z-index: 10000; width: max-content; height: auto; }
.lost { display: flex; align-items: center; gap: 14px; padding: 10px 14px 10px 18px; border: 2px solid var(--sm-error); border-radius: 8px;
  background: var(--sm-panel); color: var(--sm-text); font: 600 15px/1.4 var(--sm-font); box-shadow: 0 6px 24px #0008; }
.lost[hidden] { display: none; }
button { background: var(--sm-error); color: var(--sm-page); border: 0; border-radius: 6px; padding: 6px 14px; min-height: 34px;
  cursor: pointer; font: 600 14px var(--sm-font); }
button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 2px; }
"""


class Connection(JSComponent):
    """A banner while the server does not answer: what is on the screen is then only a picture.

    It also marks the part of the page with the class ``sm-stage`` as the document's main part, and makes buttons of the tools of
    figures: Bokeh lets the Tab key and Enter reach them, but gives them no role and no name, and Space does nothing.
    """

    _stylesheets: ClassVar[list[str]] = [LOST_CSS]
    _esm = """
    export function render({ view }) {
      const box = document.createElement("div"), text = document.createElement("span"), again = document.createElement("button");
      box.className = "lost"; box.hidden = true;
      box.setAttribute("role", "alert");
      again.type = "button"; again.textContent = "Reload";
      again.addEventListener("click", () => location.reload());
      const doc = view.model.document;
      // The words are put in when they are true: a screen reader says what comes into an alert.
      doc.on_event("connection_lost", () => {
        text.textContent = "The connection to the server is lost: what you see does not react any more.";
        box.replaceChildren(text, again);
        box.hidden = false;
      });
      doc.on_event("client_reconnected", () => { box.hidden = true; box.replaceChildren(); });
      const mark = (left) => {
        const stages = [...Bokeh.index.query((v) => v.model.css_classes?.includes("sm-stage"))];
        for (const v of stages) v.el.setAttribute("role", "main");
        if (!stages.length && left) setTimeout(() => mark(left - 1), 300);
      };
      setTimeout(() => mark(20), 100);
      const walk = function* (node) {
        for (const e of node.children ?? []) {
          yield e;
          if (e.shadowRoot) yield* walk(e.shadowRoot);
          yield* walk(e);
        }
      };
      const reachable = () => {
        for (const e of walk(document)) {
          if (e.classList.contains("bk-tool-overflow") && !e.getAttribute("aria-label")) e.setAttribute("aria-label", "More tools");
          const tool = e.classList.contains("bk-tool-icon") ? e.getRootNode().host : null;
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
    """
