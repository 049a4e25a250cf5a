"""What the tests read from the page, and the one way in which they open it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlparse


class Watch:
    """What the browser complained of and whom it asked."""

    def __init__(self, page: Any) -> None:
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("request", lambda r: self.hosts.add(urlparse(r.url).netloc) if r.url.startswith(("http", "ws")) else None)
        page.on("websocket", lambda w: self.hosts.add(urlparse(w.url).netloc))


_contexts: dict[Any, Any] = {}


FORGET = """if (!sessionStorage.getItem("tests:begun")) { sessionStorage.setItem("tests:begun", "1"); localStorage.clear(); }"""
"""A page begins without what pages before it left in the browser, and keeps what it leaves itself."""


def new_page(browser: Any, *, width: int = 1440, height: int = 900) -> Any:
    """A page without cookies or memories, for the test to close.

    All share a context per browser: a context of its own compiles all scripts anew.
    """
    if browser not in _contexts:
        _contexts[browser] = browser.new_context()
    _contexts[browser].clear_cookies()
    page = _contexts[browser].new_page()
    page.add_init_script(FORGET)
    page.set_viewport_size({"width": width, "height": height})
    return page


@contextmanager
def opened(browser: Any, url: str, *, width: int = 1440, height: int = 900):
    """The page at `url` with its picture drawn, and a `Watch` on it."""
    page = new_page(browser, width=width, height=height)
    watch = Watch(page)
    page.goto(url)
    page.locator(".sm-say").wait_for(timeout=60_000)
    page.wait_for_function(f"() => ({FIGURES})().length >= 3", timeout=30_000)
    try:
        yield page, watch
    finally:
        page.close()


FIGURES = """() => Bokeh.documents.flatMap((d) => [...d._all_models.values()]).filter((m) => m.type === 'Figure')"""

HEAT = """() => {
  const f = Bokeh.documents.flatMap((d) => [...d._all_models.values()]).find((m) => m.type === 'Figure' && m.name === 'level_chart');
  const r = f.renderers.find((r) => r.glyph.type === 'Image');
  const image = r.data_source.get_column('image')[0];
  let sum = 0; for (const v of image) sum += v;
  const y = f.y_range;
  return {shape: [...image.shape], sum, y0: y.start, y1: y.end, x0: f.x_range.start, x1: f.x_range.end,
          palette: r.glyph.color_mapper.palette.length, first: r.glyph.color_mapper.palette[200], background: f.background_fill_color};
}"""


def heat(page: Any) -> dict[str, Any]:
    """Shape, checksum and ranges of the heatmap as the browser holds it."""
    return page.evaluate(HEAT)


def query(page: Any) -> dict[str, str]:
    """The URL's parameters."""
    return {k: v[0] for k, v in parse_qs(urlparse(page.url).query).items()}


def sentence(page: Any) -> str:
    """The sentence above the picture."""
    return page.locator(".sm-say").inner_text()


def until(page: Any, read: Any, wanted: Any, timeout_ms: int = 45_000) -> None:
    """Wait until `read(page)` is `wanted`; the URL and the words follow the picture a moment later."""
    for _ in range(timeout_ms // 50):
        now = read(page)
        if now == wanted:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"expected {wanted!r} within {timeout_ms} ms, found {now!r}")


def until_changed(page: Any, read: Any, before: Any, timeout_ms: int = 45_000) -> Any:
    """Wait until `read(page)` is there (not None) and not `before`; returns the new value.

    The URL has a key only after the page's first answer.
    """
    for _ in range(timeout_ms // 50):
        now = read(page)
        if now is not None and now != before:
            return now
        page.wait_for_timeout(50)
    raise AssertionError(f"nothing changed within {timeout_ms} ms: {before!r}")
