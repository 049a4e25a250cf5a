"""What the trader does with mouse and keyboard, turned into the state; a part of the Level view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from engine.vocab import NS
from workbench import data
from workbench.plots import axes
from workbench.plots.coding import LAYERS
from workbench.state import LevelState
from workbench.views.banner import Notices
from workbench.views.form import Form
from workbench.views.look import Look, resolve
from workbench.views.own_price import own_price
from workbench.views.pictures import LevelPictures
from workbench.views.slices import Slices


class Hands:
    """Handlers of the Level view; the view itself has what they are about."""

    state: LevelState
    session: data.Session | None
    look: Look | None
    shown: tuple[int, int] | None
    slices: Slices
    notices: Notices
    pictures: LevelPictures
    any_price: Form

    _guard: Callable[..., None]
    _paint_heat: Callable[[Look], None]
    _cube: Callable[[Look], Any]
    _rows: Callable[[Look], pl.DataFrame]

    def _on_height(self, attr: str, old: int, new: int) -> None:
        """The ladder's rows became higher or lower: its figures follow."""
        self.pictures.ladder_height = new
        if self.look is not None:
            self._guard(self._resized, keep=True)

    def _resized(self) -> None:
        assert self.look is not None
        self.pictures.paint_cursor(self.look, self._rows(self.look))
        self.pictures.paint_names(self.look)

    def _on_price(self, text: str, n: int) -> None:
        self.any_price.answered = n
        if not text or self.session is None:
            return
        session = self.session

        def take() -> None:
            self.state.level, said = own_price(text, session)
            self.notices.trouble += [said] if said else []

        self._guard(take)

    def _on_tap(self, event: Any) -> None:
        if self.look is not None and event.x is not None:
            self.state.cursor_ts_ns = self._inside(axes.ns_of_x(event.x, self.look.session.day_ns))

    def _inside(self, ts_ns: int) -> int:
        assert self.look is not None
        w, lad = self.look.window_ns, self.look.session.ladder
        return min(max(ts_ns // w * w, -(-lad.start_ns // w) * w), lad.end_ns // w * w - w)

    def _on_ranges(self, event: Any) -> None:
        """The trader panned or zoomed: remember it, and read more of the ladder where it is not loaded."""
        if self.look is not None:
            self._guard(lambda: self._pan(event), keep=True)

    def _pan(self, event: Any) -> None:
        assert self.look is not None
        day = self.look.session.day_ns
        start, end = (axes.ns_of_x(x, day) for x in (event.x0, event.x1))
        if end - start < 10 * NS:
            return
        if (start, end) == self.shown:
            self.pictures.paint_names(self.look)  # the price axis may have moved
            return
        self.shown = (start, end)
        look = resolve(self.look.session, self.state, self.shown, follow=False)
        self.look = look
        self.pictures.paint_names(look)
        had = self.slices.loaded
        self._cube(look)
        if had != self.slices.loaded:
            self._paint_heat(look)

    def _on_key(self, pressed: dict[str, Any]) -> None:
        if self.look is None:
            return
        key = pressed["key"]
        if key.isdigit():
            i = int(key) - 1
            if i < len(data.KEY_LEVELS):
                self.state.level = data.KEY_LEVELS[i]
        elif key in ("ArrowUp", "ArrowDown"):
            keys = list(LAYERS)
            at = keys.index(self.state.layer) + (1 if key == "ArrowDown" else -1)
            self.state.layer = keys[at % len(keys)]
        elif key in ("[", "]"):
            self._jump(1 if key == "]" else -1)
        else:
            self._step({"ArrowLeft": -1, "ArrowRight": 1, "Home": -(10**6), "End": 10**6}[key] * (12 if pressed["shift"] else 1))

    def _step(self, windows: int) -> None:
        assert self.look is not None
        self.state.cursor_ts_ns = self._inside(self.look.now_ns + windows * self.look.window_ns)

    def _jump(self, way: int) -> None:
        """To the first window of the next (or previous) approach to the level."""
        assert self.look is not None
        v = self.look.vacuum.with_columns((pl.col("approach") != "approach_none").alias("on"))
        first = v.filter(pl.col("on") & ~pl.col("on").shift(1, fill_value=False))["window_start_ts_ns"]
        after = first.filter(first > self.look.now_ns) if way > 0 else first.filter(first < self.look.now_ns)
        if after.len():
            self.state.cursor_ts_ns = int(after[0] if way > 0 else after[-1])
