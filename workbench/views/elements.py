"""What the page's own components share in the browser: JavaScript put before a component's `render`."""

from __future__ import annotations

MAKE = """
    const make = (tag, props = {}, kids = []) => {
      const e = Object.assign(document.createElement(tag), props);
      e.append(...kids);
      return e;
    };
"""
"""``make(tag, props, kids)``: an element with its properties and children."""

ONE_AT_A_TIME = """
    const oneAtATime = (send) => {
      let waiting = null, busy = false;
      const tell = (name, value) => {
        if (busy) { waiting = [name, value]; return; }
        busy = true;
        send(name, value);
      };
      tell.busy = () => busy;
      tell.answered = () => {
        busy = false;
        if (!waiting) return true;
        const [name, value] = waiting;
        waiting = null;
        tell(name, value);
        return false;
      };
      return tell;
    };
"""
"""``oneAtATime(send)``: one act is on its way at a time; of those made meanwhile only the last counts, so that a dragged slider never lags.

``answered()`` sends the one that waits, or says true where none does.
"""
