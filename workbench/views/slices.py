"""Which slice of the ladder the heatmap has loaded, and what is computed ahead while the trader's hands rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import panel as pn

from engine.params import FeatureParams
from workbench import data
from workbench.plots.ladder import WALL_REACH
from workbench.state import knob
from workbench.views.look import Look

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

PREPARE_AFTER_MS, PREPARE_EVERY_MS = 1_000, 150


class Slices:
    """The loaded stretch; it stays while what is shown is inside it."""

    def __init__(self) -> None:
        self.loaded: tuple[int, int] = (0, 0)
        self.pool = 1
        self._key: tuple[Any, ...] = ()

    def cube(self, look: Look, half_life_s: float) -> xr.Dataset:
        """The slice that holds what `look` shows, wherever its cursor is."""
        rows, begin, end, pool = _shown(look)
        key = (look.session.stamp, rows, look.params.window_s, pool)
        if key != self._key or not (self.loaded[0] <= begin and end <= self.loaded[1]):
            self._key, self.pool = key, pool
            self.loaded = data.loaded_span(look.session, begin, end, rows, look.params.window_s)
        return _cube(look, self.loaded, half_life_s)

    def rows(self, look: Look, half_life_s: float) -> pl.DataFrame:
        """The ladder at the cursor, as far as it is shown and as far as the sentence looks: that depends on no number of rows."""
        reach = max(look.rows + look.step, WALL_REACH, look.params.zones.near)
        return data.rows_at(look.session, look.now_ns, look.k_ref, reach, look.params.window_s, look.step, half_life_s)


def _shown(look: Look) -> tuple[int, int, int, int]:
    """Rows, begin and end of what is shown of the session (the margins beside it are empty), and windows a column."""
    rows, lad, w = (look.high - look.low) // look.step + 1, look.session.ladder, look.window_ns
    begin = min(max(look.start_ns, lad.start_ns + w), lad.end_ns - w)
    end = max(min(look.end_ns, lad.end_ns - w), begin + w)
    return rows, begin, end, data.pooled(begin, end, rows, look.params.window_s)


def _cube(look: Look, span: tuple[int, int], half_life_s: float) -> xr.Dataset:
    return data.cube(look.session, *span, look.low, look.high, look.params.window_s, look.step, half_life_s)


def other_window(look: Look, window_s: int, half_life_s: float) -> xr.Dataset:
    """The slice that a change to windows of `window_s` will ask for, and the level's windows with it."""
    params = look.params.model_copy(update={"window_s": window_s})
    look = replace(look, params=params, vacuum=data.vacuum(look.session, look.level_id, params))
    rows, begin, end, _ = _shown(look)
    return _cube(look, data.loaded_span(look.session, begin, end, rows, window_s), half_life_s)


class Ahead:
    """Computes other levels' windows and slices, so that going to one shows it at once; one at a time, out of the trader's way.

    Once the drawer has been opened, windows somewhat shorter and longer come first: its first control changes their length.

    Parameters
    ----------
    now
        What is on the screen; None where nothing is.
    cube
        Computes the slice of a look.
    guard
        Runs what may fail, and shows what the engine has to say.
    """

    def __init__(self, now: Callable[[], Look | None], cube: Callable[[Look], object], guard: Callable[[Callable[[], None]], None]) -> None:
        self._now, self._cube, self._guard = now, cube, guard
        self._done: set[str | int] = set()
        self._timer: Any = None
        self._half_life_s: Callable[[], float] | None = None

    def with_windows(self, half_life_s: Callable[[], float]) -> None:
        """From now on other lengths of the window are computed ahead too: the controls that choose them are in sight."""
        self._half_life_s = half_life_s
        self.again()

    def again(self) -> None:
        """What was computed ahead is not what will be asked for: begin once hands rest."""
        self._done.clear()
        doc = pn.state.curdoc
        if doc is None:
            return
        if self._timer is not None:
            doc.remove_timeout_callback(self._timer)
        self._timer = doc.add_timeout_callback(self._next, PREPARE_AFTER_MS)

    def _next(self) -> None:
        self._timer = None
        look, doc = self._now(), pn.state.curdoc
        if look is None or doc is None:
            return
        s = look.session
        there = set(s.levels["level_id"])
        levels: list[str | int] = [i for i in data.ordered_level_ids(s) if i in there]
        todo = next((i for i in self._windows(look) + levels if i not in self._done), None)
        if todo is not None:
            self._done.add(todo)
            self._guard(lambda: self._compute(look, todo))
            self._timer = doc.add_timeout_callback(self._next, PREPARE_EVERY_MS)

    def _windows(self, look: Look) -> list[str | int]:
        """Seconds of the windows that a few steps of the slider lead to, the nearest first."""
        low, high = knob(FeatureParams, "window_s")["bounds"]
        near = [look.params.window_s + d for d in (1, -1, 2, -2)] if self._half_life_s is not None else []
        return [w for w in near if low <= w <= high]

    def _compute(self, look: Look, todo: str | int) -> None:
        if isinstance(todo, int):
            assert self._half_life_s is not None
            other_window(look, todo, self._half_life_s())
            return
        level_id = todo
        data.vacuum(look.session, level_id, look.params)
        if level_id in data.KEY_LEVELS:
            tick = data.tick_at(data.level_frame(look.session, level_id), look.now_ns)
            if tick is not None and tick != look.k_ref:
                self._cube(replace(look, level_id=level_id, k_ref=tick))
