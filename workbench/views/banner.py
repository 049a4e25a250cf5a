"""What has to be said above a view: one line each, dismissed with its button."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

BANNER_CSS = """
.said { display: flex; align-items: flex-start; gap: 10px; margin: 0 0 6px; padding: 5px 6px 5px 12px; border: 1px solid var(--sm-error);
  border-left-width: 5px; border-radius: 4px; font: 14px/1.5 var(--sm-font); color: var(--sm-text); background: var(--sm-panel); }
.said[hidden] { display: none; }
ul { flex: 1; margin: 0; padding: 3px 0 3px 16px; max-height: 22vh; overflow-y: auto; overflow-wrap: anywhere; }
code { font-family: var(--sm-mono); border: 1px solid var(--sm-edge); border-radius: 4px; padding: 1px 5px; user-select: all; }
button { flex: none; min-width: 32px; min-height: 32px; background: transparent; color: var(--sm-text); border: 1px solid var(--sm-edge);
  border-radius: 6px; font: 14px var(--sm-font); cursor: pointer; }
li button { min-height: 0; padding: 1px 8px; }
button:hover { border-color: var(--sm-level); }
button:focus-visible { outline: 2px solid var(--sm-level); outline-offset: 1px; }
"""


class Banner(JSComponent):
    """Lines above a view; what stands in backquotes is a command to copy. Nothing of it is read as HTML."""

    lines = param.List(default=[], doc="What is said, one line each")
    reload = param.String(default="", doc="A line that ends with a button that loads the page again; empty for none")
    closed = param.Integer(default=0, doc="Counts the trader's dismissals")

    _stylesheets: ClassVar[list[str]] = [BANNER_CSS]
    _esm = """
    export function render({ model, el }) {
      const box = document.createElement("div"), list = document.createElement("ul"), close = document.createElement("button");
      box.className = "said";
      list.setAttribute("role", "alert");
      close.type = "button"; close.textContent = "✕"; close.title = "Close this notice";
      close.setAttribute("aria-label", "Close this notice");
      close.addEventListener("click", () => { model.closed = model.closed + 1; });
      box.append(list, close);
      const line = (text) => {
        const li = document.createElement("li");
        text.split("`").forEach((part, i) => {
          if (i % 2 === 0) { li.append(part); return; }
          const code = document.createElement("code"); code.textContent = part; li.append(code);
        });
        return li;
      };
      const draw = () => {
        const all = [...new Set(model.lines)].map(line);
        if (model.reload) {
          const li = line(model.reload + " "), again = document.createElement("button");
          again.type = "button"; again.textContent = "Reload";
          again.addEventListener("click", () => location.reload());
          li.append(again); all.push(li);
        }
        list.replaceChildren(...all);
        box.hidden = all.length === 0;
      };
      draw();
      model.on("lines", draw); model.on("reload", draw);
      return box;
    }
    """


class Notices:
    """What a view has to say, and until when.

    ``trouble`` stays until the trader's next deliberate act, ``complaints`` (shared by the page's views) and the session's notes until
    they are dismissed, ``stale`` until the session is read again.
    """

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        self.trouble: list[str] = []
        self.notes: tuple[str, ...] = ()
        self.stale = ""
        self._dismissed: set[str] = set()
        self.banner = Banner(margin=0, sizing_mode="stretch_width", visible=False)
        self.banner.param.watch(lambda _: self.dismiss(), "closed")

    def act(self) -> None:
        """The trader has done something: what was said of the act before is over."""
        self.trouble = []

    def read(self, notes: tuple[str, ...]) -> None:
        """A session was read anew."""
        self.notes, self.stale = notes, ""

    def dismiss(self) -> None:
        """The trader has read it."""
        self._dismissed |= {*self.notes, self.stale}
        self.trouble.clear()
        self.complaints.clear()
        self.show()

    def show(self) -> None:
        """Put it on the page; nothing is sent where nothing changed."""
        notes = [n for n in self.notes if n not in self._dismissed]
        lines = list(dict.fromkeys([*self.trouble, *self.complaints, *notes]))
        stale = "" if self.stale in self._dismissed else self.stale
        self.banner.param.update(lines=lines, reload=stale, visible=bool(lines or stale))
